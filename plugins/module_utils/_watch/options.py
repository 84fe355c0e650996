# Copyright: Contributors to the fleetops.airflow collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a rulebook says about what to watch, made into what the modules' own code takes."""

from __future__ import annotations

import json
import os
from typing import Any, Callable, Mapping, NamedTuple
from urllib.parse import urlsplit

from ansible_collections.fleetops.airflow.plugins.module_utils._api.arguments import API_ARGUMENTS
from ansible_collections.fleetops.airflow.plugins.module_utils._errors import AirflowError
from ansible_collections.fleetops.airflow.plugins.module_utils._watch.watch import Limits

# A look at a server that hangs should not hold up the next one for long.
_TIMEOUT = 15.0

# Where the modules find what is not given.
_ENVIRONMENT = {name: argument["fallback"][1][0] for name, argument in API_ARGUMENTS.items() if "fallback" in argument}
_LIMITS = {
    "interval": "interval",
    "queued_after": "queued",
    "running_after": "running",
    "unreachable_after": "unreachable",
    "unhealthy_after": "unhealthy",
}
_IN_LOGIN_FILE = ("username", "password", "token")
# A login of one API -> what it stands in place of, where that is given for all APIs.
_REPLACES = {
    "username": ("token", "login_file"),
    "token": ("username", "password", "login_file"),
    "login_file": ("username", "password", "token"),
}
_OF_ALL = ("apis", "dag_ids", "state_folder", "feedback", "until_handled", *_LIMITS)
_OF_ONE = ("name", "login_file", "dag_ids", "api_url", *API_ARGUMENTS)


class Watched(NamedTuple):
    """One API to watch. ``options`` gives those of a module, read anew each time."""

    name: str
    options: Callable[[], Mapping[str, Any]]
    dag_ids: list[str]


def watched(args: Mapping[str, Any], environment: Mapping[str, str] | None = None) -> list[Watched]:
    """What the arguments of the event source name. Raises AirflowError for what cannot be right."""
    environment = os.environ if environment is None else environment
    _check_names("airflow_events", args, (*_OF_ALL, *_OF_ONE))
    apis = args.get("apis")
    if apis is None:
        apis = [{name: value for name, value in args.items() if name in _OF_ONE}]
    if not isinstance(apis, list) or not apis or not all(isinstance(one, dict) for one in apis):
        raise AirflowError("apis must be a list of the APIs to watch, each with its url.")
    common = {name: args[name] for name in _OF_ONE if name in args and args.get("apis") is not None}
    found = [_one({**_beside(common, api), **api}, args, environment) for api in apis]
    names = [one.name for one in found]
    for name in names:
        if names.count(name) > 1:
            raise AirflowError(f"Two of the APIs are called {name!r}: give each of them a name of its own.")
    return found


def limits(args: Mapping[str, Any]) -> Limits:
    """How often to look, and from when on something is a problem."""
    given = {field: _seconds(name, args[name]) for name, field in _LIMITS.items() if args.get(name) is not None}
    if given.get("interval", 1.0) < 1:
        raise AirflowError(f"interval is {args['interval']}: it must be a number of seconds, at least 1.")
    return Limits(**given)


def state_folder(args: Mapping[str, Any], environment: Mapping[str, str] | None = None) -> str:
    """Where to keep what is known from one look to the next."""
    environment = os.environ if environment is None else environment
    base = environment.get("XDG_STATE_HOME") or "~/.local/state"
    return os.path.expanduser(str(args.get("state_folder") or os.path.join(base, "fleetops.airflow")))


def until_handled(args: Mapping[str, Any]) -> bool:
    """Whether events stay until somebody has acted on them."""
    return _truth("until_handled", args.get("until_handled", False))


def _one(api: Mapping[str, Any], args: Mapping[str, Any], environment: Mapping[str, str]) -> Watched:
    _check_names("apis", api, _OF_ONE)
    given = {name: value for name, value in api.items() if name in API_ARGUMENTS and value not in (None, "")}
    given.setdefault("url", api.get("api_url"))
    file = api.get("login_file")
    for name, variable in _ENVIRONMENT.items():
        if not given.get(name) and environment.get(variable) and not (file and name in _IN_LOGIN_FILE):
            given[name] = environment[variable]
    if not given.get("url"):
        raise AirflowError("url is missing: give the address of Airflow's webserver, or set AIRFLOW_API_URL.")
    options = {name: argument.get("default") for name, argument in API_ARGUMENTS.items()}
    options.update(given)
    options["timeout"] = _seconds("timeout", given.get("timeout", _TIMEOUT))
    for name in ("validate_certs", "kerberos"):
        options[name] = _truth(name, options[name])
    if file and any(given.get(name) for name in _IN_LOGIN_FILE):
        raise AirflowError("login_file and username, password or token are two logins: give one of them.")
    name = api.get("name") or urlsplit(str(options["url"])).netloc.rpartition("@")[2] or "airflow"
    dag_ids = [str(dag_id) for dag_id in api.get("dag_ids") or args.get("dag_ids") or []]
    if file is None:
        return Watched(str(name), lambda: options, dag_ids)
    path = os.path.expanduser(str(file))
    return Watched(str(name), lambda: {**options, **_login_of(path)}, dag_ids)


def _beside(common: Mapping[str, Any], api: Mapping[str, Any]) -> dict[str, Any]:
    """What counts for all APIs, without the kinds of login in whose place this one has its own."""
    others = {name for own, replaced in _REPLACES.items() if api.get(own) for name in replaced}
    return {name: value for name, value in common.items() if name not in others}


def _login_of(path: str) -> dict[str, str]:
    """The login that stands in a file, as a JSON object. Its text is in no message."""
    try:
        with open(path, encoding="utf-8") as file:
            login = json.load(file)
    except OSError as error:
        raise AirflowError(f"login_file {path} cannot be read: {error.strerror}.") from None
    except ValueError:
        login = None
    if not isinstance(login, dict) or not all(isinstance(value, str) for value in login.values()):
        raise AirflowError(f"login_file {path} must be a JSON object with username and password, or token.")
    _check_names(f"login_file {path}", login, _IN_LOGIN_FILE)
    return login


def _check_names(what: str, given: Mapping[str, Any], known: tuple[str, ...]) -> None:
    unknown = sorted(set(given) - set(known) - {"eda_feedback_queue"})
    if unknown:
        raise AirflowError(f"{what} has {', '.join(unknown)}, and knows {', '.join(sorted(set(known)))}.")


def _seconds(name: str, value: Any) -> float:
    """A number, or a text that is one, as a template makes it."""
    try:
        seconds = float(value)
    except (TypeError, ValueError):
        seconds = -1.0
    if not 0 <= seconds < float("inf"):
        raise AirflowError(f"{name} is {value!r}: it must be a number of seconds.")
    return seconds


def _truth(name: str, value: Any) -> bool:
    known = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
    text = str(value).lower()
    if text not in known:
        raise AirflowError(f"{name} is {value!r}: it must be true or false.")
    return known[text]
