# SPDX-License-Identifier: GPL-3.0-or-later
"""One call: its retries, and the generation of the API that the server turns out to speak."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ansible_collections.fleetops.airflow.plugins.module_utils._api.answers import CallFailed, Doubt
from ansible_collections.fleetops.airflow.plugins.module_utils._api.auth import NoLogin
from ansible_collections.fleetops.airflow.plugins.module_utils._api.calls import identify
from ansible_collections.fleetops.airflow.plugins.module_utils._api.client import Api
from ansible_collections.fleetops.airflow.plugins.module_utils._api.connect import connect as connect_api
from ansible_collections.fleetops.airflow.plugins.module_utils._api.http import Http
from ansible_collections.fleetops.airflow.plugins.module_utils._api.model import Dag, NewRun
from unit.plugins.module_utils._api.test_client import PAGE, RUN, failed, quick
from unit.plugins.module_utils._api.test_connect import OPTIONS
from unit.plugins.scripted_server import Request, Server, as_json, http, problem

V2_RUN = {**{key: value for key, value in RUN.items() if key != "execution_date"}, "logical_date": None}


@pytest.fixture
def api(server: Server) -> Api:
    return Api(Http(server.url, NoLogin()), retry_policy=quick)


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

    @pytest.mark.parametrize(("reply", "tries"), [(problem(500), 3), (http(500, "<h1>Ooops!</h1>", "text/html"), 5)])
    def test_an_error_of_the_server_is_not_tried_for_long(
        self, api: Api, server: Server, reply: bytes, tries: int
    ) -> None:
        server.otherwise = reply
        assert failed(api).status == 500
        assert len(server.requests) == tries

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
        ("reply", "doubt"),
        [
            (b"", Doubt.OPEN),
            (problem(400), Doubt.NONE),
            (problem(403), Doubt.NONE),
            (problem(409), Doubt.NONE),
            (problem(500), Doubt.OVER),
            (problem(503), Doubt.OVER),
            *[(http(status, "<html>", "text/html"), Doubt.OPEN) for status in (200, 202, 408, 409, 499, 500, 502, 504)],
            *[(http(status, "<html>", "text/html"), Doubt.NONE) for status in (302, 400, 401, 403, 404, 413, 429)],
            (as_json({"message": "no Route matched"}, 404), Doubt.NONE),
            (as_json({"message": "An unexpected error occurred"}, 500), Doubt.OPEN),
            (http(500, "", None), Doubt.OPEN),
        ],
    )
    def test_doubt_depends_on_who_answered(self, api: Api, server: Server, reply: bytes, doubt: Doubt) -> None:
        server.otherwise = reply
        with pytest.raises(CallFailed) as caught:
            api.create_run(NewRun("load", "r"))
        assert caught.value.doubt is doubt

    def test_conflict_of_somebody_in_front_does_not_mean_that_the_run_exists(self, api: Api, server: Server) -> None:
        server.otherwise = http(409, "<html>", "text/html")
        with pytest.raises(CallFailed) as caught:
            api.create_run(NewRun("load", "r"))
        assert not caught.value.taken


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
        assert caught.value.doubt is Doubt.NONE

    def test_doubt_about_an_order_survives_the_question_who_answered(self, server: Server) -> None:
        server.replies = [http(500, "<html>", "text/html")]
        server.otherwise = http(503, "", None)  # so it is not found out
        with pytest.raises(CallFailed) as caught:
            self.api(server).create_run(NewRun("load", "r"))
        assert (caught.value.method, caught.value.doubt) == ("GET", Doubt.OPEN)

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


class TestIdentify:
    @pytest.mark.parametrize(
        ("answers", "generation", "release"),
        [
            ({"/api/v2/version": as_json({"version": "3.3.2"})}, "v2", "3.3.2"),
            ({"/api/v1/version": as_json({"version": "2.11.2"})}, "v1", "2.11.2"),
            ({"/health": as_json({"metadatabase": {}, "scheduler": {}})}, "experimental", None),
            ({"/health": as_json({"status": "up"})}, None, None),
            ({"/api/v2/version": as_json({"version": "1.4.0"})}, None, None),  # of something else
            ({"/api/v1/version": as_json({"version": "v1"})}, None, None),
            ({"/api/v2/version": as_json({"version": "10.0.0"})}, "v2", "10.0.0"),
            ({"/api/v2/version": PAGE, "/api/v1/version": PAGE, "/health": PAGE}, None, None),
        ],
    )
    def test_generation(
        self, server: Server, answers: dict[str, bytes], generation: str | None, release: str | None
    ) -> None:
        server.otherwise = lambda request: answers.get(request.target, http(404, "", None))
        assert identify(Http(server.url, NoLogin())) == (generation, release)


class TestSpoiledIdentification:
    """An answer that is not the server's own says nothing about what it speaks."""

    SPOILED = (http(502, "", None), http(500, "<h1>gateway</h1>", "text/html"), b"", http(429, "", None))

    @pytest.mark.parametrize("spoiled", SPOILED)
    def test_is_made_again(self, server: Server, spoiled: bytes) -> None:
        api = Api(Http(server.url, NoLogin()), certain=False, retry_policy=quick)
        left = [spoiled, spoiled]

        def reply(request: Request) -> bytes:
            if request.target.endswith("/version") and left:
                return left.pop()
            if request.target == "/api/v2/version":
                return as_json({"version": "3.3.2"})
            if request.target.startswith("/api/v2/dags/load"):
                return as_json({"is_paused": False})
            return as_json({"detail": "Not Found"}, 404)

        server.otherwise = reply
        assert api.dag("load") == Dag("load", False)
        assert left == []
