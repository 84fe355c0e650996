# SPDX-License-Identifier: GPL-3.0-or-later
"""The calls of the API, against a server with scripted answers."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ansible_collections.fleetops.airflow.plugins.module_utils._api import http as api_http
from ansible_collections.fleetops.airflow.plugins.module_utils._api.answers import CallFailed
from ansible_collections.fleetops.airflow.plugins.module_utils._api.auth import NoLogin
from ansible_collections.fleetops.airflow.plugins.module_utils._api.client import Api
from ansible_collections.fleetops.airflow.plugins.module_utils._api.dialects import EXPERIMENTAL, V2
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
    "run_type": "manual",
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
            "run_type": "manual",
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


@pytest.mark.parametrize("text", ["", ".", "..", "~", "a/b", "../../x", "a\nb", "a\x7f"])
def test_id_that_leads_to_another_path_is_sent_nowhere(api: Api, server: Server, text: str) -> None:
    for call in (
        lambda: api.dag(text),
        lambda: api.set_paused(text, True),
        lambda: api.run("load", text),
        lambda: api.run(text, "r"),
        lambda: api.set_run_state("load", text, "failed"),
        lambda: api.failed_tasks("load", text),
    ):
        with pytest.raises(AirflowError, match=r"No such id can be named in the API. Nothing was sent."):
            call()
    assert server.requests == []


def test_list_that_moves_while_it_is_read_has_each_run_once(api: Api, server: Server) -> None:
    """A run is made between two pages, and the server gives less at once than it was asked for."""
    runs = [{**RUN, "dag_run_id": f"r{number}"} for number in range(131)]

    def reply(request: Request) -> bytes:
        asked = json.loads(request.body)
        begin = asked["page_offset"]
        page = runs[begin : begin + min(asked["page_limit"], 50)]
        runs.insert(0, {**RUN, "dag_run_id": f"new{len(runs)}"})
        return as_json({"dag_runs": page, "total_entries": len(runs)})

    server.otherwise = reply
    found, _total = api.newest_runs(["load"], [], None, 1000)
    assert len({run.run_id for run in found}) == len(found) >= 131


@pytest.mark.parametrize("date", ["0001-01-01T00:00:00+00:00", "9999-12-31T23:59:59-23:59", "2026-01-31", "x", 7, None])
def test_dates_of_a_run_that_nobody_can_count_with(api: Api, server: Server, date: object) -> None:
    server.otherwise = as_json(
        {**RUN, "logical_date": date, "execution_date": None, "start_date": date, "end_date": date}
    )
    run = api.run("load", "r+1")
    assert run is not None
    assert (run.logical_date, run.start_date, run.end_date) == (None, None, None)


def test_tasks_whose_run_is_not_told_are_unknown(api: Api, server: Server) -> None:
    """As where Airflow names the date of the run instead."""
    server.otherwise = as_json({"task_instances": [{"dag_id": "load", "task_id": "work"}], "total_entries": 1})
    assert api.failed_tasks_since(["load"], "2026-01-31T08:00:00+00:00") is None
    assert list(api.runs_with_tasks({("load", "r")}, "2026-01-31T08:00:00+00:00")) == []


def test_page_that_is_too_large_is_asked_for_in_parts(
    api: Api, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api_http, "_MOST", 5000)
    asked = []

    def page(request: Request) -> bytes:
        words = json.loads(request.body)
        asked.append((words["page_offset"], words["page_limit"]))
        runs = [{**RUN, "dag_run_id": f"r{number}", "conf": {"text": "x" * 500}} for number in range(30)]
        begin = words["page_offset"]
        return as_json({"dag_runs": runs[begin : begin + words["page_limit"]], "total_entries": len(runs)})

    server.otherwise = page
    found, total = api.inspect_ended(["load"], "2026-01-31T08:00:00+00:00", 0)
    assert (len(found), total) == (6, 30)
    assert asked == [(0, 100), (0, 25), (0, 6)]


def test_location_that_is_malformed(api: Api, server: Server) -> None:
    server.otherwise = http(302, "", headers={"Location": "http://["})
    with pytest.raises(CallFailed) as failure:
        api.set_paused("load", True)
    assert failure.value.status == 302


EVENTS: list[dict[str, Any]] = [
    {"event": f"line {number}", "level": "info", "timestamp": None} for number in range(3000)
]
FAILED: list[dict[str, Any]] = [
    {
        "event": "Task failed",
        "error_detail": [{"exc_type": "OSError", "exc_value": "the disk is full", "frames": []}],
    },
    {"event": "Post Execute"},
]
END = ["Task failed", "OSError: the disk is full", "Post Execute"]


class TestLogs:
    """Of Airflow 3: events, which 3.x sends one on a line, or all in one document."""

    def log_of(self, server: Server, *logs: bytes) -> list[str] | None:
        """The log of one failed task, with an answer for each form in which it is asked for."""
        replies = list(logs)

        def answered(request: Request) -> bytes:
            if "/logs/" in request.target:
                return replies.pop(0)
            return as_json({"task_instances": [{"task_id": "work", "try_number": 1}], "total_entries": 1})

        server.otherwise = answered
        tasks = Api(Http(server.url, NoLogin()), dialect=V2, retry_policy=quick).failed_tasks("load", "r")
        assert tasks is not None
        return tasks[0].log

    @staticmethod
    def lines(events: list[dict[str, Any]], **how: Any) -> bytes:
        return http(200, "".join(json.dumps(event) + "\n" for event in events), "application/x-ndjson", **how)

    @pytest.mark.parametrize("length", [True, False])
    def test_end_of_a_log_of_any_size(self, server: Server, monkeypatch: pytest.MonkeyPatch, length: bool) -> None:
        monkeypatch.setattr(api_http, "_MOST", 1000)
        log = self.log_of(server, self.lines(EVENTS + FAILED, length=length))
        assert log is not None
        assert (len(log), log[-4:]) == (20, ["line 2999", *END])
        assert server.requests[-1].headers["accept"] == "application/x-ndjson"

    def test_line_that_is_larger_than_what_is_kept(self, server: Server) -> None:
        log = self.log_of(server, self.lines([{"event": "x" * 2 * 1024 * 1024 + "end"}, *FAILED]))
        assert log is not None
        assert (log[1:], len(log[0]), log[0][-5:]) == (END, 300, 'end"}')

    @pytest.mark.parametrize("first", [http(406, "{}"), as_json({"detail": "no"}, 422), as_json({"content": "x"})])
    def test_server_that_has_one_document_alone(self, server: Server, first: bytes) -> None:
        assert self.log_of(server, first, as_json({"content": ["a", *FAILED]})) == ["a", *END]

    @pytest.mark.parametrize("status", [403, 404, 500])
    def test_log_that_is_refused_is_asked_for_once(self, server: Server, status: int) -> None:
        assert self.log_of(server, as_json({"detail": "no"}, status)) is None
