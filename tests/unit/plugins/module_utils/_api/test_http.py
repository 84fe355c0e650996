# SPDX-License-Identifier: GPL-3.0-or-later
"""One request over a real socket: what counts as an answer, and where the login goes."""

from __future__ import annotations

import contextlib
import gzip
import json
import shutil
import socket
import ssl
import subprocess
import threading
import time
from email.utils import formatdate
from pathlib import Path
from typing import Any, Iterator

import pytest
from ansible_collections.fleetops.airflow.plugins.module_utils._api import http as api_http
from ansible_collections.fleetops.airflow.plugins.module_utils._api.auth import BasicLogin, NoLogin
from ansible_collections.fleetops.airflow.plugins.module_utils._api.http import (
    Answer,
    Http,
    RetryPolicy,
    TransportError,
    base_url,
)
from ansible_collections.fleetops.airflow.plugins.module_utils._errors import AirflowError
from unit.plugins.scripted_server import Server, as_json, http, problem

SECRET = "s3cret-word"
LOGIN = BasicLogin("ada", SECRET)


CHUNKED = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    b'6\r\n{"a": \r\n2\r\n1}\r\n0\r\n\r\n'
)


class TestBaseUrl:
    @pytest.mark.parametrize(
        ("typed", "base"),
        [
            ("http://h:8080", "http://h:8080"),
            ("https://h.example/", "https://h.example"),
            ("  https://h/airflow//  ", "https://h/airflow"),
            ("http://h:8080/api/v1", "http://h:8080"),
            ("http://h:8080/airflow/api/v1/", "http://h:8080/airflow"),
            ("http://h/api/experimental", "http://h"),
            ("http://[::1]:8080/", "http://[::1]:8080"),
            ("http://h/me@home", "http://h/me@home"),
        ],
    )
    def test_takes_what_people_type(self, typed: str, base: str) -> None:
        assert base_url(typed) == base

    @pytest.mark.parametrize(
        ("typed", "hint"),
        [
            ("", "empty"),
            ("airflow.example:8080", "write https://airflow.example:8080, or http://"),
            ("ftp://h", "must be http"),
            ("http://", "must be http"),
            ("http://h h/", "must be http"),
            ("http://h:port", "host and port"),
            ("http://h/?a=b", "take out"),
            ("http://h/#x", "take out"),
        ],
    )
    def test_says_what_is_wrong(self, typed: str, hint: str) -> None:
        with pytest.raises(AirflowError, match=hint):
            base_url(typed)

    @pytest.mark.parametrize(
        "typed",
        [
            f"http://ada:{SECRET}@h:8080",
            f"https://{SECRET}@h/",
            f"ada:{SECRET}@h",
            f"http:/ada:{SECRET}@h",
            f"ftp://ada:{SECRET}@h",
            f"http://ada:{SECRET}@h:port",
            f"http://h/?password={SECRET}",
        ],
    )
    def test_never_repeats_a_login(self, typed: str) -> None:
        with pytest.raises(AirflowError) as caught:
            base_url(typed)
        assert SECRET not in str(caught.value)


class TestWholeness:
    """An answer that was cut off anywhere is none."""

    @pytest.mark.parametrize(
        "whole",
        [
            as_json({"dag_id": "hello", "is_paused": False}),
            problem(404, "DAG not found"),
            http(404, "<html><title>nothing here</title></html>", "text/html"),
            http(200, gzip.compress(json.dumps({"a": "b" * 50}).encode()), headers={"Content-Encoding": "gzip"}),
            CHUNKED,
            http(200, '{"dag_id": "hello"}', length=False),
        ],
        ids=["json", "problem", "html", "gzip", "chunked", "until the end of the connection"],
    )
    def test_of_every_beginning_none_is_taken(self, server: Server, whole: bytes) -> None:
        server.otherwise = whole
        client = Http(server.url, LOGIN)
        expected = client.send("GET", "/x")
        assert expected.status in (200, 404)
        # After the 0 that ends a chunked answer come line ends only.
        end = len(whole) - 4 if b"chunked" in whole else len(whole)
        for length in range(end):
            server.otherwise = whole[:length]
            with pytest.raises(TransportError) as caught:
                pytest.fail(f"{client.send('GET', '/x')} was taken from {whole[:length]!r}")
            assert (caught.value.kind, caught.value.nothing_sent) == ("broken", False)

    def test_a_page_without_a_length_tells_by_its_body_that_the_headers_are_complete(self, server: Server) -> None:
        whole = http(404, "Apache Airflow is not at this location", "text/plain", length=False)
        client = Http(server.url, LOGIN)
        headers = whole.index(b"\r\n\r\n") + 4
        for length in range(headers):
            server.otherwise = whole[:length]
            with pytest.raises(TransportError):
                client.send("GET", "/x")
        server.otherwise = whole
        assert client.send("GET", "/x").status == 404

    def test_an_empty_body_is_whole_where_the_headers_say_so(self, server: Server) -> None:
        server.otherwise = http(503, "", None)
        assert Http(server.url, NoLogin()).send("GET", "/x").status == 503

    def test_too_much_is_refused(self, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(api_http, "_MOST", 100)
        server.otherwise = http(200, "x" * 101, "text/plain")
        with pytest.raises(TransportError) as caught:
            Http(server.url, NoLogin()).send("GET", "/x")
        assert not caught.value.passing

    def test_only_the_end_is_kept(self, server: Server) -> None:
        server.otherwise = http(200, "first\n" * 50000 + "last", "text/plain")
        assert Http(server.url, NoLogin()).send("GET", "/x", only_end=8).text == "rst\nlast"


DRIPS = {
    "first line": (b"", b"H"),
    "headers": (b"HTTP/1.1 200 OK\r\n", b"X-Drip: x\r\n"),
    "body": (b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\nContent-Type: text/plain\r\n\r\n", b"x"),
    "chunks": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
    "blank lines": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\n\n\r\n"),
}


@pytest.fixture(params=DRIPS)
def dripping(request: pytest.FixtureRequest) -> Iterator[str]:
    """A server that sends a little every 20 ms, for ever."""
    begin, drop = DRIPS[request.param]
    stopped = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            with contextlib.suppress(OSError):
                connection, _address = listening.accept()
                with connection:
                    connection.recv(65536)
                    connection.sendall(begin)
                    while not stopped.wait(0.02):
                        connection.sendall(drop)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        stopped.set()
        thread.join()


class TestDrips:
    def test_whole_answer_has_one_timeout(self, dripping: str) -> None:
        begin = time.monotonic()
        with pytest.raises(TransportError) as caught:
            Http(dripping, NoLogin(), timeout=0.5).send("GET", "/x")
        assert 0.4 < time.monotonic() - begin < 2
        assert (caught.value.kind, caught.value.nothing_sent) == ("timeout", False)

    def test_lines_come_to_an_end(self, dripping: str) -> None:
        begin = time.monotonic()
        with contextlib.suppress(TransportError):
            for _line in Http(dripping, NoLogin()).lines("/wait", 5, 0.5):
                pass
        assert time.monotonic() - begin < 2

    def test_end_of_a_log_of_any_size(self, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(api_http, "_MOST", 100)
        server.otherwise = http(200, "x" * 1000 + "end", "text/plain")
        assert Http(server.url, NoLogin()).send("GET", "/x", only_end=4).text == "xend"


class TestLines:
    def test_as_they_come(self, server: Server) -> None:
        chunks = b"3\r\n{1}\r\n1\r\n\n\r\n4\r\n{2}\n\r\n"
        server.replies = [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n"]
        assert list(Http(server.url, NoLogin()).lines("/wait", 5, 60)) == [b"{1}", b"{2}"]

    def test_that_are_cut_off(self, server: Server) -> None:
        server.replies = [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n{1}\n\r\n4\r\n{2"]
        lines = Http(server.url, NoLogin()).lines("/wait", 5, 60)
        assert next(lines) == b"{1}"
        with pytest.raises(TransportError):
            list(lines)

    def test_that_do_not_come(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as silent:
            with pytest.raises(TransportError) as caught:
                list(Http(f"http://127.0.0.1:{silent.getsockname()[1]}", NoLogin()).lines("/wait", 0.2, 60))
            assert caught.value.kind == "timeout"

    def test_of_a_refusal_are_none(self, server: Server) -> None:
        server.replies = [problem(404)]
        assert list(Http(server.url, NoLogin()).lines("/wait", 5, 60)) == []


class TestLogin:
    def test_goes_with_the_first_request(self, server: Server) -> None:
        server.otherwise = as_json({})
        Http(server.url + "/base", LOGIN).send("POST", "/x?y=%2F", document={"name": "日本"})
        (request,) = server.requests
        assert (request.method, request.target) == ("POST", "/base/x?y=%2F")
        assert request.headers["authorization"].startswith("Basic ")
        assert request.headers["content-type"] == "application/json"
        assert json.loads(request.body) == {"name": "日本"}

    @pytest.mark.parametrize("method", ["GET", "POST"])
    @pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
    def test_no_redirect_is_followed(self, server: Server, other_server: Server, method: str, status: int) -> None:
        server.otherwise = http(status, "", None, {"Location": other_server.url + "/x"})
        answer = Http(server.url, LOGIN).send(method, "/x", document={"a": 1} if method == "POST" else None)
        assert answer.status == status
        assert len(server.requests) == 1
        assert other_server.requests == []

    def test_a_netrc_file_is_not_read(self, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "netrc").write_text(f"machine 127.0.0.1 login eve password {SECRET}\n")
        monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
        server.otherwise = as_json({})
        Http(server.url, NoLogin()).send("GET", "/x")
        Http(server.url, LOGIN).send("GET", "/x")
        without, with_login = server.requests
        assert "authorization" not in without.headers
        assert with_login.headers["authorization"] == "Basic YWRhOnMzY3JldC13b3Jk"

    @pytest.mark.parametrize("keep", [False, True])
    def test_cookies_are_kept_on_request_only(self, server: Server, keep: bool) -> None:
        server.otherwise = as_json({}, headers={"Set-Cookie": "session=abc; Path=/; HttpOnly"})
        client = Http(server.url, NoLogin(), keep_cookies=keep)
        client.send("GET", "/x")
        client.send("GET", "/x")
        assert ("cookie" in server.requests[1].headers) is keep

    def test_another_login_keeps_address_and_certificates(self, server: Server) -> None:
        server.otherwise = as_json({})
        Http(server.url, LOGIN).with_login(NoLogin()).send("GET", "/x")
        assert "authorization" not in server.requests[0].headers


class TestProxy:
    def test_of_the_environment_is_used(self, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("http_proxy", server.url)
        server.otherwise = as_json({})
        Http("http://airflow.invalid:8080", LOGIN).send("GET", "/x")
        assert server.requests[0].target == "http://airflow.invalid:8080/x"

    def test_is_left_aside_for_hosts_in_no_proxy(
        self, server: Server, other_server: Server, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("http_proxy", other_server.url)
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        server.otherwise = as_json({})
        Http(server.url, LOGIN).send("GET", "/x")
        assert other_server.requests == []

    def test_trouble_with_it_does_not_tell_its_password(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("http_proxy", f"http://me:{SECRET}@127.0.0.1:{free_port()}")
        trouble = failing(Http("http://airflow.invalid", LOGIN))
        assert trouble.kind == "proxy"
        assert SECRET not in str(trouble)


class TestTrouble:
    def test_refused(self) -> None:
        trouble = failing(Http(f"http://127.0.0.1:{free_port()}", LOGIN))
        assert (trouble.kind, trouble.nothing_sent, trouble.passing) == ("refused", True, True)

    @pytest.mark.parametrize(("code", "passing"), [(socket.EAI_NONAME, False), (socket.EAI_AGAIN, True)])
    def test_name(self, monkeypatch: pytest.MonkeyPatch, code: int, passing: bool) -> None:
        def no_name(*_args: Any, **_options: Any) -> None:
            raise socket.gaierror(code, "no such name")

        monkeypatch.setattr(socket, "getaddrinfo", no_name)
        trouble = failing(Http("http://airflow.invalid", LOGIN))
        assert (trouble.kind, trouble.nothing_sent, trouble.passing) == ("name", True, passing)

    def test_timeout(self, server: Server) -> None:
        gate = threading.Event()

        def late(_request: Any) -> bytes:
            gate.wait(5)
            return b""

        server.otherwise = late
        trouble = failing(Http(server.url, LOGIN, timeout=0.1))
        gate.set()
        assert (trouble.kind, trouble.nothing_sent, trouble.passing) == ("timeout", False, True)

    def test_no_connection_in_time(self) -> None:
        with socket.create_server(("127.0.0.1", 0), backlog=0) as full, socket.socket() as first:
            first.connect(full.getsockname())  # the one that fits into the queue
            waiting = []
            for _other in range(3):
                more = socket.socket()
                more.setblocking(False)
                more.connect_ex(full.getsockname())
                waiting.append(more)
            trouble = failing(Http(f"http://127.0.0.1:{full.getsockname()[1]}", LOGIN, timeout=0.2))
            for more in waiting:
                more.close()
        assert (trouble.kind, trouble.nothing_sent) == ("unreachable", True)

    def test_https_to_a_server_without_tls(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:

            def answer() -> None:
                connection, _other = listener.accept()
                with connection:
                    connection.recv(65536)
                    connection.sendall(http(400, ""))

            thread = threading.Thread(target=answer)
            thread.start()
            trouble = failing(Http(f"https://127.0.0.1:{listener.getsockname()[1]}", LOGIN))
            thread.join(5)
        assert trouble.kind == "not_tls"
        assert not trouble.passing

    def test_https_to_a_server_that_waits_for_more(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            trouble = failing(Http(f"https://127.0.0.1:{listener.getsockname()[1]}", LOGIN, timeout=0.2))
        assert (trouble.kind, trouble.nothing_sent, trouble.passing) == ("tls", True, False)

    @pytest.mark.parametrize(
        "line",
        [
            b"SSH-2.0-OpenSSH_9.2\r\n",
            b"HTTP/1.1 b'404 Not Found'\r\n",  # Airflow 2.3 outside the base path of its web interface
        ],
    )
    def test_what_is_not_http(self, server: Server, line: bytes) -> None:
        server.otherwise = line
        trouble = failing(Http(server.url, LOGIN))
        assert (trouble.kind, trouble.nothing_sent, trouble.passing) == ("foreign", False, False)
        assert line.decode().strip() in str(trouble).replace('"', "'")

    def test_settings_that_requests_cannot_use(self, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("http_proxy", f"nonsense://me:{SECRET}@h")
        trouble = failing(Http(server.url, LOGIN))
        assert trouble.kind == "settings"
        assert not trouble.passing
        assert SECRET not in str(trouble)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for 127.0.0.1 that nobody has signed, with its key, in one file."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("this machine has no openssl to make a certificate with")
    folder = tmp_path_factory.mktemp("tls")
    command = f"{openssl} req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=test -addext subjectAltName=IP:127.0.0.1"
    subprocess.run(
        [*command.split(), "-keyout", folder / "key.pem", "-out", folder / "cert.pem"], check=True, capture_output=True
    )
    both = folder / "both.pem"
    both.write_text((folder / "key.pem").read_text() + (folder / "cert.pem").read_text())
    return both


@pytest.fixture
def tls_server(certificate: Path) -> Iterator[str]:
    """The address of a server with that certificate. It asks for one of the client, too, but takes any or none."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    context.load_verify_locations(certificate)
    context.verify_mode = ssl.CERT_OPTIONAL
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                connection, _other = listener.accept()
            except OSError:
                return
            try:
                with connection, context.wrap_socket(connection, server_side=True) as secured:
                    secured.recv(65536)
                    secured.sendall(as_json({"client": bool(secured.getpeercert())}))
            except OSError:
                pass  # the client did not like the certificate

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield f"https://127.0.0.1:{listener.getsockname()[1]}"
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join(5)


class TestTls:
    def test_an_unknown_certificate_is_refused(self, tls_server: str) -> None:
        trouble = failing(Http(tls_server, LOGIN))
        assert (trouble.kind, trouble.nothing_sent, trouble.passing) == ("tls_untrusted", True, False)

    def test_one_that_is_named_is_accepted(self, tls_server: str, certificate: Path) -> None:
        assert Http(tls_server, LOGIN, verify=str(certificate)).send("GET", "/x").status == 200

    def test_any_is_accepted_where_told_so(self, tls_server: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nonexistent")
        assert Http(tls_server, LOGIN, verify=False).send("GET", "/x").status == 200

    def test_the_client_shows_its_own(self, tls_server: str, certificate: Path) -> None:
        answer = Http(tls_server, LOGIN, verify=str(certificate), cert=str(certificate)).send("GET", "/x")
        assert answer.document == {"client": True}


class TestAnswer:
    def test_retry_after(self) -> None:
        def seconds(value: str) -> float | None:
            return Answer(503, {"Retry-After": value}, b"").retry_after

        assert seconds("7") == 7
        assert seconds("soon") is None
        assert seconds("") is None
        assert seconds("Wed, 21 Oct 2015 07:28:00 GMT") == 0
        assert seconds(formatdate(4102444800, usegmt=True)) == 86400  # no server stops a task for longer
        for odd in ("\xb2", "\u0664", "9" * 30, "-1", "1e3", "1_0"):
            assert seconds(odd) is None, odd

    def test_document(self) -> None:
        assert Answer(200, {"Content-Type": "application/problem+json; charset=utf-8"}, b'{"a": 1}').document == {
            "a": 1
        }
        assert Answer(200, {"Content-Type": "application/json"}, b"[1]").document is None
        assert Answer(200, {"Content-Type": "text/html"}, b"{}").document is None
        assert Answer(200, {}, b"").document is None


class Clock:
    """Time that passes only by sleeping."""

    def __init__(self) -> None:
        self.now = 100.0
        self.pauses: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.pauses.append(seconds)


class TestRetryPolicy:
    def test_grows_and_ends(self) -> None:
        clock = Clock()
        retry_policy = RetryPolicy(30, lambda: clock.now, clock.sleep)
        clock.now += 500  # what came before the first failure does not count
        start = clock.now
        while retry_policy.pause():
            pass
        assert 20 < clock.now - start <= 30
        assert clock.pauses[0] <= 0.25
        assert max(clock.pauses) <= 4
        assert 8 < len(clock.pauses) < 20

    def test_two_callers_do_not_march_in_step(self) -> None:
        clocks = [Clock(), Clock()]
        for clock in clocks:
            RetryPolicy(30, lambda clock=clock: clock.now, clock.sleep).pause()  # type: ignore[misc]
        assert clocks[0].pauses != clocks[1].pauses

    def test_obeys_the_server_within_its_time(self) -> None:
        clock = Clock()
        retry_policy = RetryPolicy(30, lambda: clock.now, clock.sleep)
        assert retry_policy.pause(at_least=10)
        assert clock.pauses[0] >= 10
        assert not retry_policy.pause(at_least=25)
        assert len(clock.pauses) == 1

    def test_counts(self) -> None:
        clock = Clock()
        retry_policy = RetryPolicy(30, lambda: clock.now, clock.sleep)
        assert retry_policy.pause()
        assert [retry_policy.pause(most=2) for _other in range(3)] == [True, True, False]
        assert retry_policy.pause()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def failing(client: Http) -> TransportError:
    with pytest.raises(TransportError) as caught:
        client.send("GET", "/x")
    return caught.value
