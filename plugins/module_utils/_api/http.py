# Copyright: Contributors to the fleetops.airflow collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One HTTP request at a time, and the question whether its answer came back whole.

The only file that imports requests. It follows no redirect, repeats nothing, and lets no text of
requests out: an exception's text there may hold a URL with a login in it, of a proxy for instance.
"""

from __future__ import annotations

import http.client
import json
import random
import socket
import ssl
import time
from dataclasses import dataclass
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Callable, Generator, Iterator, Mapping
from urllib.parse import SplitResult, urlsplit

from ansible_collections.fleetops.airflow.plugins.module_utils._api.deadline import (
    seconds_left,
    time_is_up_in,
    whole_within,
)
from ansible_collections.fleetops.airflow.plugins.module_utils._errors import AirflowError

if TYPE_CHECKING:
    import requests

Login = Callable[["requests.PreparedRequest"], "requests.PreparedRequest"]

_API_PATHS = ("/api/v1", "/api/v2", "/api/experimental")
_CHUNK = 64 * 1024
_MOST = 16 * 1024 * 1024
_CROWDED = 429
_LONGEST_PAUSE = 86400.0  # seconds that a server may ask to be left alone
# OpenSSL's codes: not valid yet, expired, another host name, another address.
_CERTIFICATE_TROUBLES = {9: "tls_time", 10: "tls_time", 62: "tls_name", 64: "tls_name"}
# What OpenSSL says, by version, of a port that answers a TLS handshake in plain text.
_PLAIN_HTTP = ("wrong version number", "http request", "record layer failure", "packet length too long")
_PASSING_STATUSES = frozenset([_CROWDED, 502, 503, 504])


def base_url(text: str) -> str:
    """``text``, which a person typed, as the address that API paths are appended to.

    Raises AirflowError, without repeating a login that stands in it, where it is no such address.
    """
    text = text.strip()
    if not text:
        raise AirflowError("url is empty: give the address of Airflow's webserver.")
    if "://" not in text and "@" not in text:
        raise AirflowError(
            f"url has no scheme: write https://{text}, or http://{text} if the server does not speak TLS. "
            "The one decides whether the password travels encrypted, so it is not guessed."
        )
    try:
        parts = urlsplit(text)
        host = parts.hostname
        _port = parts.port
    except ValueError:
        raise AirflowError("url is not a valid address: see its host and port.") from None
    if "@" in parts.netloc or (not parts.netloc and "@" in text):
        raise AirflowError("url holds a login: take it out, and give username and password as options.")
    if parts.scheme not in ("http", "https") or not host or any(sign.isspace() for sign in text):
        raise AirflowError(f"url is {text!r}: it must be http:// or https://, a host, and perhaps a port and a path.")
    if parts.query or parts.fragment:
        raise AirflowError("url must end with the path: take out what begins with '?' or '#'.")
    path = parts.path.rstrip("/")
    for api_path in _API_PATHS:
        if path.endswith(api_path):
            path = path[: -len(api_path)].rstrip("/")
    return f"{parts.scheme}://{parts.netloc}{path}"


@dataclass(frozen=True)
class Answer:
    """A whole answer. ``headers`` ignores case; ``body`` is at most the size that was asked for."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def content_type(self) -> str:
        """The media type alone, in lower case, or ''."""
        return self.headers.get("Content-Type", "").split(";")[0].strip().lower()

    @property
    def text(self) -> str:
        """The body, with what is not UTF-8 replaced."""
        return self.body.decode("utf-8", "replace")

    @property
    def document(self) -> dict[str, Any] | None:
        """The JSON object in the body, or None if that is something else."""
        if "json" not in self.content_type:
            return None
        return _json_object(self.body)

    @property
    def passing(self) -> bool:
        """Whether the same request may well be answered otherwise in some seconds."""
        return self.status in _PASSING_STATUSES

    @property
    def retry_after(self) -> float | None:
        """The seconds for which the server asks to be left alone, or None."""
        value = self.headers.get("Retry-After", "").strip()
        if _is_number(value):
            return min(float(value), _LONGEST_PAUSE)
        until = parsed_http_date(value)
        return None if until is None else min(max(0.0, until.timestamp() - time.time()), _LONGEST_PAUSE)


class TransportError(Exception):
    """No whole answer came back.

    ``kind`` is one of "name", "refused", "unreachable", "proxy", "tls", "tls_name", "tls_time", "tls_untrusted",
    "not_tls", "client_cert", "timeout", "broken", "foreign", "settings", "kerberos"; the text says what happened,
    without URL and login.
    ``nothing_sent``: the server cannot have seen the request. ``passing``: another try in some seconds may well
    succeed. ``answer``: one that came, and says nothing about the server. ``too_large``: it was cut off for its size.
    """

    def __init__(
        self,
        kind: str,
        text: str,
        *,
        nothing_sent: bool = False,
        passing: bool = True,
        answer: Answer | None = None,
        too_large: bool = False,
    ) -> None:
        super().__init__(text)
        self.kind = kind
        self.nothing_sent = nothing_sent
        self.passing = passing
        self.answer = answer
        self.too_large = too_large


class RetryPolicy:
    """The pauses between tries: longer each time, never the same for two callers, and not for ever.

    The time counts from the first pause on, in ``seconds``; a deadline for everything (all_within) ends it earlier.
    """

    def __init__(
        self,
        seconds: float,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.seconds = seconds
        self._clock = clock
        self._sleep = sleep
        self._end: float | None = None
        self._next = 0.25
        self._limited = 0

    def pause(self, at_least: float | None = None, most: int | None = None) -> bool:
        """Wait, for ``at_least`` seconds if given. False, at once, if that would end after the time is up.

        False as well if there were ``most`` pauses before that were limited in this way.
        """
        if most is not None and self._limited >= most:
            return False
        now = self._clock()
        if self._end is None:
            self._end = now + self.seconds
        seconds = self._next * random.uniform(0.6, 1.0)
        if at_least is not None:
            seconds += at_least
        if now + seconds > self._end or time_is_up_in(seconds):
            return False
        self._next = min(self._next * 2, 4.0)
        self._limited += most is not None
        self._sleep(seconds)
        return True


class Http:
    """Requests to one server with one login.

    ``base`` is what base_url() returns; ``verify`` is True, False or the path of certificates; ``cert`` is
    None, a file, or a pair of files (certificate, key). Cookies are kept from one request to the next only
    with ``keep_cookies``. ``headers`` go with every request, ``timeout`` seconds are for a whole answer.
    """

    def __init__(
        self,
        base: str,
        login: Login,
        timeout: float = 30.0,
        verify: bool | str = True,
        cert: str | tuple[str, str] | None = None,
        keep_cookies: bool = False,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.base = base
        self._login = login
        self.timeout = timeout
        self._verify = verify
        self._cert = cert
        self._keep_cookies = keep_cookies
        self._headers = dict(headers or {})
        self._session: requests.Session | None = None

    def with_login(self, login: Login, keep_cookies: bool = False) -> Http:
        """The same server, with another login and no cookie."""
        return Http(self.base, login, self.timeout, self._verify, self._cert, keep_cookies, self._headers)

    def send(
        self,
        method: str,
        path: str,
        *,
        document: Mapping[str, Any] | None = None,
        form: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        only_end: int | None = None,
    ) -> Answer:
        """One request, once. ``path`` is what follows the base, escaped and with its query.

        ``only_end``: keep only so many of the last bytes of the body. Raises TransportError.
        """
        sent_headers = {**self._headers, "Accept": "application/json", **(headers or {})}
        body: bytes | Mapping[str, str] | None = form
        if document is not None:
            sent_headers["Content-Type"] = "application/json"
            body = json.dumps(document, allow_nan=False).encode()
        try:
            with whole_within(self.timeout), self._begun(method, path, body, sent_headers, self.timeout) as response:
                received = _read(response, only_end)
                if not _is_whole(response, received):
                    raise TransportError("broken", "the answer was cut off")
                return Answer(response.status_code, response.headers, received)
        except OSError as error:  # every exception of requests is one
            raise _explained(error) from None

    def lines(self, path: str, silence: float, most: float) -> Generator[bytes, None, None]:
        """The lines of an answer that is still being written, as they come; none where its status is not 200.

        Closing the iterator closes the connection. Raises TransportError, after ``silence`` seconds without anything
        too, and after ``most`` seconds in all.
        """
        headers = {**self._headers, "Accept": "application/x-ndjson, application/json", "Accept-Encoding": "identity"}
        try:
            with whole_within(most), self._begun("GET", path, None, headers, silence) as response:
                if response.status_code == 200:
                    yield from response.iter_lines(chunk_size=None)
        except OSError as error:
            raise _explained(error) from None

    def _begun(
        self, method: str, path: str, body: bytes | Mapping[str, str] | None, headers: Mapping[str, str], timeout: float
    ) -> requests.Response:
        """Send a request, and read the headers of its answer."""
        left = seconds_left()
        if left is not None and left <= 0:
            raise TransportError("timeout", "no time was left to ask", nothing_sent=True)
        timeout = timeout if left is None else min(timeout, left)
        return self._opened().request(
            method,
            self.base + path,
            data=body,
            headers=headers,
            auth=self._login,
            timeout=timeout,
            verify=self._verify,
            cert=self._cert,
            allow_redirects=False,
            stream=True,
        )

    def _opened(self) -> requests.Session:
        if self._session is None:
            import requests
            import urllib3

            if self._verify is False:
                urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
            self._session = requests.Session()
            from ansible_collections.fleetops.airflow.plugins.module_utils._api.bounded import bounded_adapter

            # It would be computed although it is not followed, and a malformed one raises.
            self._session.get_redirect_target = lambda _response: None  # type: ignore[assignment,method-assign]
            for scheme in ("http://", "https://"):
                self._session.mount(scheme, bounded_adapter())
            self._session.headers["User-Agent"] = "fleetops.airflow"
            if not self._keep_cookies:
                from http.cookiejar import DefaultCookiePolicy

                self._session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        return self._session


def _read(response: requests.Response, only_end: int | None) -> bytes:
    body = bytearray()
    size = 0
    for chunk in response.iter_content(_CHUNK):
        size += len(chunk)
        if size > _MOST and only_end is None:
            text = f"the answer is larger than {_MOST // 1024 // 1024} MiB"
            raise TransportError("broken", text, passing=False, too_large=True)
        body += chunk
        if only_end is not None:
            del body[:-only_end]
    return bytes(body)


def _is_whole(response: requests.Response, body: bytes) -> bool:
    """Whether nothing was cut off that matters.

    An answer cut inside its headers reads, through Python's http.client, as one with fewer headers and without a
    body. So where the headers do not tell the body's length, a body is what shows that they are complete; and a JSON
    body shows its own end, while of any other nobody relies on more than its beginning.
    """
    length = response.headers.get("Content-Length")
    if length is not None:
        return _is_number(length) and response.raw.tell() == int(length)
    if "chunked" in response.headers.get("Transfer-Encoding", "").lower():
        return True  # an end that is missing was an exception while reading
    kind = response.headers.get("Content-Type", "").lower()
    is_json = "json" in kind and "ndjson" not in kind
    return _json_object(body) is not None if is_json else bool(body)


def parsed_http_date(text: str) -> datetime | None:
    """The date of a header in UTC; None for what is none, or of no year that a clock shows."""
    try:
        date = parsedate_to_datetime(text)
        date = date.replace(tzinfo=timezone.utc) if date.tzinfo is None else date.astimezone(timezone.utc)
    except (TypeError, ValueError, OverflowError):
        return None
    return date if 2000 <= date.year < 3000 else None


def _is_number(text: str) -> bool:
    """Of ASCII digits alone, and of a length that a number has: other digits are none to int()."""
    return text.isascii() and text.isdecimal() and len(text) < 19


def parsed_json(body: bytes | str) -> Any:
    """What JSON holds; None for what is none, or is nested too deeply."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def split_url(text: str) -> SplitResult:
    """An address that a server gave, in its parts; empty ones where it is none."""
    try:
        return urlsplit(text)
    except ValueError:
        return urlsplit("")


def _json_object(body: bytes) -> dict[str, Any] | None:
    document = parsed_json(body)
    return document if isinstance(document, dict) else None


def _causes(error: BaseException) -> Iterator[BaseException]:
    """``error`` and all that it was raised from: requests and urllib3 hide the first one in several places."""
    waiting: list[object] = [error]
    seen: set[int] = set()
    while waiting:
        cause = waiting.pop()
        if not isinstance(cause, BaseException) or id(cause) in seen:
            continue
        seen.add(id(cause))
        yield cause
        waiting += [cause.__context__, cause.__cause__, getattr(cause, "reason", None), *cause.args]


def _explained(error: OSError) -> TransportError:
    """What went wrong, by the first cause that says something."""
    import requests
    import urllib3

    causes = list(_causes(error))
    if isinstance(error, requests.exceptions.ProxyError):
        return TransportError("proxy", "the proxy that the environment names does not let the request through")
    trouble = _no_connection(error, causes)
    if trouble is not None:
        return trouble
    if any(isinstance(cause, (requests.exceptions.Timeout, urllib3.exceptions.TimeoutError)) for cause in causes):
        return TransportError("timeout", "the answer did not come in time")
    for cause in causes:
        line = str(cause.args[0]) if isinstance(cause, http.client.BadStatusLine) else ""
        if line.endswith("\n"):  # a whole line, so it was not cut off
            return TransportError("foreign", f"it does not speak HTTP, but says {line.strip()[:60]!r}", passing=False)
    if isinstance(error, (requests.exceptions.ConnectionError, requests.exceptions.ChunkedEncodingError)):
        return TransportError("broken", "the connection was dropped before the answer was complete")
    if isinstance(error, requests.exceptions.ContentDecodingError):
        return TransportError("broken", "the answer could not be decoded")
    return TransportError(
        "settings",
        f"requests could not even send (it raised {type(error).__name__}): look at url, ca_path and the "
        "environment's proxy and certificate settings",
        nothing_sent=True,
        passing=False,
    )


def _no_connection(error: OSError, causes: list[BaseException]) -> TransportError | None:
    """Why no connection, or no TLS on it, came about; None if one did."""
    import requests
    import urllib3

    for cause in causes:
        if isinstance(cause, ssl.SSLError):
            return _tls_trouble(cause)
        if "handshake operation timed out" in str(cause):
            return TransportError("tls", "no TLS connection came about in time", nothing_sent=True, passing=False)
        if isinstance(cause, socket.gaierror):
            passing = cause.errno == socket.EAI_AGAIN
            text = "its name cannot be resolved at present (EAI_AGAIN)" if passing else "its name cannot be resolved"
            return TransportError("name", text, nothing_sent=True, passing=passing)
        if isinstance(cause, ConnectionRefusedError):
            return TransportError("refused", "the connection was refused", nothing_sent=True)
    if isinstance(error, requests.exceptions.ConnectTimeout):
        return TransportError("unreachable", "no connection came about in time", nothing_sent=True)
    if any(isinstance(cause, urllib3.exceptions.NewConnectionError) for cause in causes):
        reason = next((cause.strerror for cause in causes if isinstance(cause, OSError) and cause.strerror), None)
        return TransportError("unreachable", f"no connection came about ({reason})", nothing_sent=True)
    return None


def _tls_trouble(error: ssl.SSLError) -> TransportError:
    if isinstance(error, ssl.SSLCertVerificationError):
        kind = _CERTIFICATE_TROUBLES.get(error.verify_code, "tls_untrusted")
        return TransportError(
            kind, f"its certificate was not accepted ({error.verify_message})", nothing_sent=True, passing=False
        )
    if isinstance(error, (ssl.SSLEOFError, ssl.SSLZeroReturnError)):
        return TransportError("broken", "the TLS connection was dropped")
    reason = (error.reason or "no reason given").lower().replace("_", " ")
    if any(words in reason for words in _PLAIN_HTTP):
        return TransportError("not_tls", "the port answers plain HTTP, not TLS", nothing_sent=True, passing=False)
    if "certificate required" in reason:
        return TransportError("client_cert", "the server wants a certificate of the client", passing=False)
    return TransportError("tls", f"TLS failed ({reason})", passing=False)
