# SPDX-License-Identifier: GPL-3.0-or-later
"""The calls of the API, against a server with scripted answers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.fleetops.airflow.plugins.module_utils._api.answers import CallFailed
from ansible_collections.fleetops.airflow.plugins.module_utils._api.auth import NOBODY, NoLogin
from ansible_collections.fleetops.airflow.plugins.module_utils._api.calls import identify
from ansible_collections.fleetops.airflow.plugins.module_utils._api.client import Api
from ansible_collections.fleetops.airflow.plugins.module_utils._api.connect import connect as connect_api
from ansible_collections.fleetops.airflow.plugins.module_utils._api.dialects import EXPERIMENTAL
from ansible_collections.fleetops.airflow.plugins.module_utils._api.http import Http, RetryPolicy
from ansible_collections.fleetops.airflow.plugins.module_utils._api.model import Dag, NewRun
from ansible_collections.fleetops.airflow.plugins.module_utils._errors import AirflowError
from unit.plugins.scripted_server import Request, Server, as_json, http, problem

PAGE = http(200, "<title>Welcome to nginx!</title>", "text/html")
RUN = {
    "conf": {"a": 1},
    "dag_id": "load",
    "dag_run_id": "r+1",
    "data_interval_start": "2026-01-31T08:00:00+00:00",
    "end_date": None,
    "execution_date": "2026-01-31T08:00:00+00:00",
    "external_trigger": True,
    "logical_date": "2026-01-31T08:00:00+00:00",
    "note": None,
    "start_date": None,
    "state": "queued",
}


def quick() -> RetryPolicy:
    """As many retries as usual, without taking the time."""
    now = [0.0]

    def sleep(seconds: float) -> None:
        now[0] += seconds

    return RetryPolicy(30, lambda: now[0], sleep)


@pytest.fixture
def api(server: Server) -> Api:
    return Api(Http(server.url, NoLogin()), retry_policy=quick)


def failed(api: Api) -> CallFailed:
    with pytest.raises(CallFailed) as caught:
        api.dag("load")
    return caught.value


class TestCalls:
    def test_dag(self, api: Api, server: Server) -> None:
        server.otherwise = as_json({"dag_id": "läd", "is_paused": True})
        assert api.dag("läd") == Dag("läd", True)
        assert server.requests[0].target == "/api/v1/dags/l%C3%A4d"

    def test_run(self, api: Api, server: Server) -> None:
        server.otherwise = as_json(RUN)
        run = api.run("load", "r+1")
        assert server.requests[0].target == "/api/v1/dags/load/dagRuns/r%2B1"
        assert run is not None
        assert run._asdict() == {
            "dag_id": "load",
            "run_id": "r+1",
            "state": "queued",
            "conf": {"a": 1},
            "logical_date": "2026-01-31T08:00:00+00:00",
            "start_date": None,
            "end_date": None,
            "note": None,
            "url": server.url + "/dags/load/grid?dag_run_id=r%2B1",
        }

    def test_page_of_a_run_before_2_4(self, api: Api, server: Server) -> None:
        old = {key: value for key, value in RUN.items() if key not in ("data_interval_start", "note", "logical_date")}
        server.otherwise = as_json(old)
        run = api.run("load", "r+1")
        assert run is not None
        assert run.url == server.url + "/graph?dag_id=load&execution_date=2026-01-31T08%3A00%3A00%2B00%3A00"
        assert run.logical_date == "2026-01-31T08:00:00+00:00"

    def test_create_run_sends_what_every_release_of_2_takes(self, api: Api, server: Server) -> None:
        server.otherwise = as_json(RUN)
        api.create_run(NewRun("load", "r+1"))
        api.create_run(NewRun("load", "r+1", {"a": 1}, "2026-01-31T08:00:00+00:00", "why"))
        least, most = (json.loads(request.body) for request in server.requests)
        assert least == {"dag_run_id": "r+1"}
        assert most == {**least, "conf": {"a": 1}, "execution_date": "2026-01-31T08:00:00+00:00", "note": "why"}

    def test_create_run_is_sent_once(self, api: Api, server: Server) -> None:
        server.otherwise = http(503, "", None)
        with pytest.raises(CallFailed):
            api.create_run(NewRun("load", "r+1"))
        assert len(server.requests) == 1

    def test_set_paused(self, api: Api, server: Server) -> None:
        server.otherwise = as_json({"is_paused": False})
        api.set_paused("load", False)
        (request,) = server.requests
        assert (request.method, request.target) == ("PATCH", "/api/v1/dags/load?update_mask=is_paused")
        assert json.loads(request.body) == {"is_paused": False}

    def test_permission_is_shown_by_the_complaint_about_the_body(self, api: Api, server: Server) -> None:
        server.replies = [problem(400, detail="{'zzz': ['Unknown field.']}"), problem(403), problem(400, detail="no")]
        api.check_create_run("load")
        for status in (403, 400):
            with pytest.raises(CallFailed) as caught:
                api.check_create_run("load")
            assert caught.value.status == status

    def test_failed_tasks(self, api: Api, server: Server) -> None:
        common = {"state": "failed", "try_number": 2}
        tasks = [{"task_id": f"t{number}", "map_index": number - 1, **common} for number in range(5)]
        server.replies = [as_json({"task_instances": tasks})]
        server.otherwise = http(200, "\n".join(f"line {number}" for number in range(50)) + "\n\n", "text/plain")
        found = api.failed_tasks("load", "r") or []
        assert [task.log is not None for task in found] == [True, True, True, False, False]
        assert found[0].log == [f"line {number}" for number in range(30, 50)]
        path = "/api/v1/dags/load/dagRuns/r/taskInstances"
        assert [request.target for request in server.requests] == [
            path + "?state=failed&limit=100",
            path + "/t0/logs/2",  # without map_index, which releases before 2.4 refuse
            path + "/t1/logs/2?map_index=0",
            path + "/t2/logs/2?map_index=1",
        ]

    def test_a_log_that_cannot_be_read_is_left_out(self, api: Api, server: Server) -> None:
        task = {"task_id": "t", "state": "failed", "try_number": 1}
        server.replies = [as_json({"task_instances": [task]}), b""]
        assert [task.log for task in api.failed_tasks("load", "r") or []] == [None]

    def test_run_at(self, api: Api, server: Server) -> None:
        server.replies = [as_json({"dag_runs": [RUN]}), as_json({"dag_runs": []})]
        run = api.run_at("load", "2026-01-31T08:00:00+00:00")
        assert run is not None
        assert run.run_id == "r+1"
        assert api.run_at("load", "2026-01-31T08:00:00+00:00") is None
        date = "2026-01-31T08%3A00%3A00%2B00%3A00"
        assert server.requests[0].target.endswith(f"?execution_date_gte={date}&execution_date_lte={date}&limit=1")


class TestFailures:
    @pytest.mark.parametrize(
        "reply", [http(502, "", None), http(503, "", None), http(504, "", None), b"", b"HTTP/1.1 200"]
    )
    def test_what_passes_is_waited_for(self, api: Api, server: Server, reply: bytes) -> None:
        server.replies = [reply] * 5
        server.otherwise = as_json({"is_paused": False})
        assert api.dag("load") == Dag("load", False)
        assert len(server.requests) == 6

    def test_but_not_for_ever(self, api: Api, server: Server) -> None:
        server.otherwise = http(503, "", None)
        assert failed(api).status == 503
        assert 8 < len(server.requests) < 20

    def test_an_error_of_the_server_is_tried_thrice(self, api: Api, server: Server) -> None:
        server.otherwise = http(500, "<h1>Ooops!</h1>", "text/html")
        assert failed(api).status == 500
        assert len(server.requests) == 3

    @pytest.mark.parametrize(
        "reply", [problem(401), problem(403), problem(404), problem(400), PAGE, http(302, "", None)]
    )
    def test_what_stays_is_not_repeated(self, api: Api, server: Server, reply: bytes) -> None:
        server.otherwise = reply
        failed(api)
        assert len(server.requests) == 1

    def test_retry_after_beyond_the_retries_ends_it(self, api: Api, server: Server) -> None:
        server.otherwise = http(503, "", None, {"Retry-After": "31"})
        failed(api)
        assert len(server.requests) == 1

    def test_json_of_somebody_else_is_no_answer(self, api: Api, server: Server) -> None:
        server.otherwise = as_json({"status": "ok"})
        assert failed(api).status == 200

    @pytest.mark.parametrize(
        ("reply", "missing"),
        [
            (problem(404, "DAGRun not found"), True),
            (http(404, '{"type": "about:blank", "title": "Not Found"}', "application/problem+json"), False),
            (as_json({"error": "/api/v1 has been removed in Airflow 3"}, 404), False),
            (http(404, "<html>", "text/html"), False),
        ],
    )
    def test_a_run_is_missing_only_if_airflow_says_so(
        self, api: Api, server: Server, reply: bytes, missing: bool
    ) -> None:
        server.otherwise = reply
        if missing:
            assert api.run("load", "r") is None
        else:
            with pytest.raises(CallFailed) as caught:
                api.run("load", "r")
            assert not caught.value.missing
            assert caught.value.foreign

    @pytest.mark.parametrize(
        ("reply", "maybe_done"),
        [(b"", True), (http(500, "", None), True), (http(504, "", None), True), (problem(400), False), (PAGE, False)],
    )
    def test_a_call_without_a_clear_answer_may_have_been_done(
        self, api: Api, server: Server, reply: bytes, maybe_done: bool
    ) -> None:
        server.otherwise = reply
        with pytest.raises(CallFailed) as caught:
            api.create_run(NewRun("load", "r"))
        assert caught.value.maybe_done is maybe_done


V2_RUN = {**{key: value for key, value in RUN.items() if key != "execution_date"}, "logical_date": None}


class Airflow3:
    """Answers as 3.x does: nothing without the newest token, and the paths of 2.x are gone."""

    def __init__(self) -> None:
        self.tokens = 0
        self.answer = as_json({"is_paused": False, "has_import_errors": False})

    def __call__(self, request: Request) -> bytes:
        if request.target == "/auth/token":
            self.tokens += 1
            return as_json({"access_token": f"t{self.tokens}"}, 201)
        if request.target == "/api/v2/version":
            return as_json({"version": "3.3.2"})
        if not request.target.startswith("/api/v2/"):
            return as_json({"error": "/api/v1 has been removed in Airflow 3"}, 404)
        if request.headers.get("authorization") != f"Bearer t{self.tokens}":
            return as_json({"detail": "Invalid JWT token"}, 403)
        return self.answer


class TestGenerations:
    def api(self, server: Server, **options: Any) -> Api:
        api = connect_api({**OPTIONS, "url": server.url, **options})
        api.retry_policy = quick
        return api

    def test_auto_costs_nothing_on_airflow_2(self, server: Server) -> None:
        server.otherwise = as_json({"is_paused": False})
        assert self.api(server).dag("load") == Dag("load", False)
        assert [request.target for request in server.requests] == ["/api/v1/dags/load"]

    def test_auto_finds_airflow_3_once(self, server: Server) -> None:
        server.otherwise = Airflow3()
        api = self.api(server)
        assert api.dag("load") == api.dag("load") == Dag("load", False, False)
        assert [request.target for request in server.requests] == [
            "/api/v1/dags/load",
            "/api/v2/version",
            "/auth/token",
            "/api/v2/dags/load",
            "/api/v2/dags/load",
        ]
        assert not [request for request in server.requests[1:] if "Basic" in request.headers.get("authorization", "")]

    def test_an_order_is_made_in_the_words_of_the_generation_that_is_found(self, server: Server) -> None:
        airflow = Airflow3()
        airflow.answer = as_json(V2_RUN)
        server.otherwise = airflow
        run = self.api(server).create_run(NewRun("load", "r+1"))
        assert run.url == server.url + "/dags/load/runs/r%2B1"
        assert json.loads(server.requests[-1].body) == {"dag_run_id": "r+1", "logical_date": None}

    def test_a_token_that_is_over_is_replaced_once(self, server: Server) -> None:
        airflow = Airflow3()
        server.otherwise = airflow
        api = self.api(server, api_version="v2")
        api.dag("load")
        airflow.tokens += 1  # the server knows the first one no more
        api.dag("load")
        assert airflow.tokens == 3

    def test_a_refused_new_token_is_no_reason_for_another_one(self, server: Server) -> None:
        server.replies = [as_json({"access_token": "t"}, 201)]
        server.otherwise = as_json({"detail": "Invalid JWT token"}, 403)
        assert failed(self.api(server, api_version="v2")).status == 403
        assert len(server.requests) == 2

    def test_a_login_that_fails_has_sent_no_order(self, server: Server) -> None:
        server.otherwise = b""
        with pytest.raises(CallFailed) as caught:
            self.api(server, api_version="v2").create_run(NewRun("load", "r"))
        assert caught.value.at_login
        assert not caught.value.maybe_done

    def test_a_ready_token_is_tried_on_airflow_3_first(self, server: Server) -> None:
        server.otherwise = as_json({"is_paused": False})
        api = self.api(server, username=None, password=None, token="abc")
        api.dag("load")
        (request,) = server.requests
        assert (request.target, request.headers["authorization"]) == ("/api/v2/dags/load", "Bearer abc")

    def test_what_is_no_airflow_stays_what_was_asked(self, server: Server) -> None:
        server.otherwise = PAGE
        failure = failed(self.api(server))
        assert (failure.path, failure.foreign) == ("/api/v1/dags/load", True)

    def test_headers_go_with_every_request(self, server: Server) -> None:
        server.otherwise = Airflow3()
        self.api(server, headers={"X-Key": "k"}).dag("load")
        assert {request.headers.get("x-key") for request in server.requests} == {"k"}


class TestExperimental:
    @pytest.fixture
    def api(self, server: Server) -> Api:
        return Api(Http(server.url, NoLogin()), dialect=EXPERIMENTAL, retry_policy=quick)

    def listed(self, *ids: str) -> bytes:
        common = {"dag_id": "load", "state": "running", "execution_date": "2026-01-31T07:00:00+00:00"}
        page = "/admin/airflow/graph?dag_id=load&execution_date=x"
        return http(200, json.dumps([{**common, "run_id": name, "id": 1, "dag_run_url": page} for name in ids]))

    def test_a_run_is_looked_for_in_the_list(self, api: Api, server: Server) -> None:
        server.otherwise = self.listed("r0", "r+1")
        run = api.run("load", "r+1")
        assert run is not None
        assert (run.state, run.conf) == ("running", None)
        assert run.url == server.url + "/admin/airflow/graph?dag_id=load&execution_date=x"
        assert api.run("load", "r2") is None
        assert {request.target for request in server.requests} == {"/api/experimental/dags/load/dag_runs"}

    def test_order(self, api: Api, server: Server) -> None:
        server.otherwise = as_json(
            {"message": "Created", "run_id": "r+1", "execution_date": "2026-01-31T08:00:00+00:00"}
        )
        run = api.create_run(NewRun("load", "r+1", {"a": 1}))
        assert (run.run_id, run.state, run.url) == ("r+1", None, None)
        sent = json.loads(server.requests[0].body)
        assert sent == {"run_id": "r+1", "conf": {"a": 1}, "replace_microseconds": "false"}

    def test_it_keeps_no_notes(self, api: Api, server: Server) -> None:
        with pytest.raises(AirflowError, match="note"):
            api.create_run(NewRun("load", "r", note="why"))
        assert not server.requests

    def test_whether_an_order_would_be_allowed_cannot_be_tried(self, api: Api, server: Server) -> None:
        assert api.check_create_run("load") is False
        assert not server.requests

    def test_a_missing_dag(self, api: Api, server: Server) -> None:
        def answer(request: Request) -> bytes:
            if request.target.endswith("/paused"):
                return http(500, "<h1>Ooops.</h1>", "text/html")
            return as_json({"error": "Dag id load not found in DagModel"}, 400)

        server.otherwise = answer
        assert failed(api).missing

    def test_a_taken_id(self, api: Api, server: Server) -> None:
        server.otherwise = as_json({"error": "Run id r already exists for dag id load"}, 400)
        with pytest.raises(CallFailed) as caught:
            api.create_run(NewRun("load", "r"))
        assert caught.value.taken


class TestIdentify:
    @pytest.mark.parametrize(
        ("answers", "generation", "release"),
        [
            ({"/api/v2/version": as_json({"version": "3.3.2"})}, "v2", "3.3.2"),
            ({"/api/v1/version": as_json({"version": "2.11.2"})}, "v1", "2.11.2"),
            ({"/health": as_json({"metadatabase": {}, "scheduler": {}})}, "experimental", None),
            ({"/health": as_json({"status": "up"})}, None, None),
            ({"/api/v2/version": PAGE, "/api/v1/version": PAGE, "/health": PAGE}, None, None),
        ],
    )
    def test_generation(
        self, server: Server, answers: dict[str, bytes], generation: str | None, release: str | None
    ) -> None:
        server.otherwise = lambda request: answers.get(request.target, http(404, "", None))
        assert identify(Http(server.url, NoLogin())) == (generation, release)


OPTIONS: dict[str, Any] = {
    "url": "http://h:8080/api/v1",
    "username": "ada",
    "password": "pw",
    "kerberos": False,
    "kerberos_hostname": None,
    "token": None,
    "headers": None,
    "api_version": "auto",
    "validate_certs": True,
    "ca_path": None,
    "client_cert": None,
    "client_key": None,
    "timeout": 30.0,
}


class TestConnect:
    def test_sends_nothing(self) -> None:
        api = connect_api(OPTIONS)
        assert api.base == "http://h:8080"
        assert api.logins.username == "ada"

    def test_empty_means_unset(self) -> None:
        options = {**OPTIONS, "username": "", "password": "", "ca_path": "", "client_cert": "", "client_key": ""}
        assert connect_api(options).logins is NOBODY

    @pytest.mark.parametrize(
        ("options", "hint"),
        [
            ({"timeout": 0.0}, "timeout"),
            ({"timeout": float("nan")}, "timeout"),
            ({"timeout": float("inf")}, "timeout"),
            ({"password": ""}, "belong together"),
            ({"username": None}, "belong together"),
            ({"kerberos": True}, "two logins"),
            ({"username": "", "password": "", "kerberos": True, "headers": {"Authorization": "x"}}, "headers holds"),
            ({"token": "abc"}, "token, and a username"),
            ({"headers": {"authorization": "x"}}, "headers holds Authorization"),
            ({"headers": {"X Y": "x"}}, "no name for a header"),
            ({"headers": {"X-Y": "a\r\nb"}}, "one line"),
            ({"headers": {"X-Y": [1]}}, "one line"),
            ({"ca_path": "/nonexistent/ca.pem"}, "ca_path"),
            ({"client_cert": "/nonexistent/cert.pem"}, "client_cert"),
        ],
    )
    def test_says_what_is_wrong(self, options: dict[str, Any], hint: str) -> None:
        with pytest.raises(AirflowError, match=hint):
            connect_api({**OPTIONS, **options})

    def test_a_key_with_a_passphrase_would_ask_for_it(self, tmp_path: Path) -> None:
        (tmp_path / "key.pem").write_text("-----BEGIN ENCRYPTED PRIVATE KEY-----\n")
        (tmp_path / "cert.pem").write_text("-----BEGIN CERTIFICATE-----\n")
        paths = {"client_cert": str(tmp_path / "cert.pem"), "client_key": str(tmp_path / "key.pem")}
        with pytest.raises(AirflowError, match="passphrase"):
            connect_api({**OPTIONS, **paths})
