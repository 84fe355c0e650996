# Copyright: Contributors to the fleetops.airflow collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From the options of a module to the API that they describe."""

from __future__ import annotations

import os
import re
from typing import Any, Mapping
from urllib.parse import urlsplit

from ansible_collections.fleetops.airflow.plugins.module_utils._api.auth import (
    NOBODY,
    BasicLogin,
    BearerLogin,
    Logins,
    NoLogin,
    TokenLogin,
)
from ansible_collections.fleetops.airflow.plugins.module_utils._api.client import Api
from ansible_collections.fleetops.airflow.plugins.module_utils._api.dialects import DIALECTS, V1, V2
from ansible_collections.fleetops.airflow.plugins.module_utils._api.http import Http, base_url
from ansible_collections.fleetops.airflow.plugins.module_utils._api.kerberos import KerberosLogin
from ansible_collections.fleetops.airflow.plugins.module_utils._errors import AirflowError

_LONGEST_TIMEOUT = 86400.0


def connect(options: Mapping[str, Any]) -> Api:
    """The API as the options of a module (API_ARGUMENTS) describe it. Sends nothing.

    Raises AirflowError for an option that cannot be right.
    """
    timeout = options["timeout"]
    if not 0 < timeout <= _LONGEST_TIMEOUT:
        raise AirflowError(f"timeout is {timeout}: it must be a number of seconds above 0, and at most a day (86400).")
    verify: bool | str = options["validate_certs"]
    if verify and options["ca_path"]:
        verify = _existing("ca_path", options["ca_path"])
    anonymous = Http(
        base_url(options["url"]),
        NoLogin(),
        timeout,
        verify,
        _client_certificate(options),
        headers=_headers(options["headers"] or {}),
    )
    logins = _logins(options, anonymous)
    generation = options["api_version"]
    if generation != "auto":
        return Api(anonymous, logins, DIALECTS[generation])
    # Who has a token ready has it from Airflow 3; for anybody else nothing is lost by trying Airflow 2 first, whose
    # requests are dear, while those to Airflow 3 are cheap.
    only_v2 = options["token"] or ":" in (options["username"] or "")  # a name that no other version can be told
    return Api(anonymous, logins, V2 if only_v2 else V1, certain=False)


def _logins(options: Mapping[str, Any], anonymous: Http) -> Logins:
    username, password, token = (options[name] or None for name in ("username", "password", "token"))
    for name, value in (("username", username), ("password", password), ("token", token)):
        edge = _blanks_at_the_ends(value or "")
        if len(f"{edge}.".splitlines()) > 1:
            raise AirflowError(
                f"{name} begins or ends with a line break, as what is read from a file or a command does. Nothing was "
                f"sent. Remove it, for instance with the filter trim."
            )
        if edge and name != "password":  # which may have one, and is spoken of if it is rejected
            raise AirflowError(
                f"{name} begins or ends with a blank. Nothing was sent. Remove it, for instance with the filter trim."
            )
    if (username is None) != (password is None):
        raise AirflowError("username and password belong together: give both, or none.")
    has_login = token or username or options["kerberos"]
    if has_login and any(name.lower() == "authorization" for name in options["headers"] or {}):
        raise AirflowError("headers holds Authorization, which is where the login has its place: give one of them.")
    if options["kerberos"]:
        if username or token:
            raise AirflowError(
                "kerberos and username, or token, are two logins: give one of them. AIRFLOW_API_USERNAME and "
                "AIRFLOW_API_TOKEN in the environment count as username and token."
            )
        ticket = KerberosLogin(options["kerberos_hostname"] or urlsplit(anonymous.base).hostname or "")
        return Logins(ticket, ticket, service=ticket.service)
    if token and username:
        raise AirflowError(
            "There is a token, and a username too: give one of them, and look for the other in the task, in "
            "module_defaults and in the environment variables AIRFLOW_API_TOKEN and AIRFLOW_API_USERNAME."
        )
    if token:
        bearer = BearerLogin(token)
        return Logins(bearer, bearer)
    if username and password:
        basic = BasicLogin(username, password)
        return Logins(basic, TokenLogin(anonymous, username, password), username, basic)
    return NOBODY


def _blanks_at_the_ends(text: str) -> str:
    core = text.strip()
    begin, _core, end = text.partition(core) if core else (text, "", "")
    return begin + end


def _headers(headers: Mapping[str, Any]) -> dict[str, str]:
    """Raises AirflowError, without the value, for what cannot stand in a header."""
    for name, value in headers.items():
        if not re.fullmatch(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+", name):
            raise AirflowError(f"headers holds {name!r}, and that is no name for a header.")
        if isinstance(value, (dict, list)) or not str(value).isascii() or not str(value).isprintable():
            raise AirflowError(f"The value of {name} in headers must be one line of ASCII characters.")
    return {name: str(value) for name, value in headers.items()}


def _client_certificate(options: Mapping[str, Any]) -> str | tuple[str, str] | None:
    if not options["client_cert"]:
        return None
    cert = _existing("client_cert", options["client_cert"])
    key = _existing("client_key", options["client_key"]) if options["client_key"] else cert
    with open(key, errors="replace") as file:
        if "ENCRYPTED" in file.read():  # OpenSSL would ask for the passphrase at the terminal, and wait
            raise AirflowError(f"The private key in {key} has a passphrase: give one without.")
    return cert if key == cert else (cert, key)


def _existing(option: str, path: str) -> str:
    if not os.path.exists(path):
        raise AirflowError(f"{option} is {path}: there is no such file.")
    return path
