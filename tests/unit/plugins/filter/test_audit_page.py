# SPDX-License-Identifier: GPL-3.0-or-later
"""Which columns the page of an audit has, what can be chosen, and that nothing on it comes from a host but text."""

from __future__ import annotations

import base64
import hashlib
import re
from html.parser import HTMLParser
from typing import Any, Iterator

import pytest
from ansible_collections.fleetops.airflow.plugins.filter.audit_page import audit_page
from ansible_collections.fleetops.airflow.plugins.plugin_utils._audit.changes import KINDS
from ansible_collections.fleetops.airflow.plugins.plugin_utils._audit.text import as_html
from testbed import audits
from testbed.audits import FINE, report

OPEN = {**FINE, "open_to_everybody": True}
AWAY = {"unreachable": True, "msg": "No route."}
OTHER = {
    **FINE,
    "airflow_version": "2.10.5",
    "configured": ["airflow.api.auth.backend.kerberos_auth"],
    "in_force": ["airflow.api.auth.backend.kerberos_auth"],
}


def page(results: dict[str, Any], earlier: dict[str, Any] | None = None) -> dict[str, Any]:
    return audit_page(report(results, earlier))


def folded(results: dict[str, Any]) -> dict[str, str]:
    return {one["label"]: one["html"] for one in page(results)["folded"]}


def test_columns_that_do_not_tell_hosts_apart_are_folded() -> None:
    assert page({"a": FINE, "b": FINE, "c": AWAY})["columns"] == []
    assert folded({"a": FINE, "b": FINE, "c": AWAY}) == {
        "Airflow version": "2.11.2",
        "Configured": "<code>basic_auth, session</code>",
        "In force": "as configured",
        "Anonymous access": "no",
        "Restart pending": "no",
        "Overridden by": "nothing",
    }
    assert page({"a": FINE, "b": OTHER})["columns"] == ["Airflow version", "Configured"]
    assert page({"a": FINE, "b": OPEN})["columns"] == ["Anonymous access"]
    assert page({"a": FINE, "b": {**FINE, "in_force": None}})["columns"] == ["In force"]


def test_only_a_backend_of_airflow_has_a_short_name() -> None:
    """Another one of that name does something else."""
    names = ["evil.basic_auth", "airflow.api.auth.backend.basic_auth", "airflowx.session", "airflow.x", "airflow."]
    (configured,) = (
        cell["html"]
        for cell in page({"a": {**FINE, "configured": names}})["hosts"][0]["cells"]
        if "evil" in cell["html"]
    )
    assert configured.replace("<wbr>", "") == "<code>evil.basic_auth, basic_auth, airflowx.session, x, airflow.</code>"


def test_of_a_single_host_only_what_says_nothing_is_folded() -> None:
    assert page({"a": FINE})["columns"] == ["Airflow version", "Configured"]
    assert page({"a": OPEN, "b": AWAY})["columns"] == ["Airflow version", "Configured", "Anonymous access"]


@pytest.mark.parametrize("more", [{"restart_pending": True}, {"overridden_by": "AIRFLOW__X"}])
def test_what_findings_say_is_no_column_and_not_folded(more: dict[str, Any]) -> None:
    names = {"Restart pending", "Overridden by"}
    for results in (
        {"a": {**FINE, **more}},
        {"a": FINE, "b": {**FINE, **more}},
        {key: {**FINE, **more} for key in "ab"},
    ):
        assert not names & set(page(results)["columns"])
        assert len(names & set(folded(results))) == 1


def test_what_is_not_known_is_not_folded_into_no() -> None:
    unknown = {**FINE, "open_to_everybody": None, "restart_pending": None}
    assert "Restart pending" not in folded({"a": FINE, "b": unknown})
    assert page({"a": FINE, "b": unknown})["columns"] == ["Anonymous access"]


def test_a_page_of_hosts_of_which_nothing_is_known() -> None:
    shown = page({"a": AWAY, "b": {}})
    assert (shown["columns"], shown["folded"]) == ([], [])
    assert [host["cells"] for host in shown["hosts"]] == [None, None]


def counts(shown: dict[str, Any]) -> dict[str, dict[str, int]]:
    return {one["name"]: {choice["value"]: choice["count"] for choice in one["choices"]} for one in shown["filters"]}


def test_counts_of_hosts_by_level_finding_and_change() -> None:
    now = {"a": OPEN, "b": AWAY, "c": {**OPEN, "warnings_found": ["x", "y"]}, "d": FINE}
    assert counts(page(now)) == {
        "level": {"all": 4, "danger": 2, "unknown": 1, "warning": 0, "attention": 0, "fine": 1},
        "finding": {"all": 4, "anonymous_access": 2, "unreachable": 1, "dangerous_setting": 1},
    }
    earlier = {"a": FINE, "b": AWAY, "c": OPEN}
    assert counts(page(now, earlier))["change"] == {
        "all": 4,
        "worse": 2,
        "better": 0,
        "changed": 0,
        "new": 1,
        "same": 1,
    }
    assert "finding" not in counts(page({"d": FINE}))


def test_what_changed_stands_with_the_host() -> None:
    before = {"a": FINE, "b": OPEN, "c": OPEN, "d": {**OTHER, "public_role": "Op"}, "e": FINE}
    hosts = {
        host["html"]: host for host in page({"a": OPEN, "b": FINE, "c": AWAY, "d": FINE, "f": FINE}, before)["hosts"]
    }
    assert {name: host["badge"] for name, host in hosts.items()} == {
        "a": "Worse: was Fine",
        "b": "Better: was Danger",
        "c": "Changed: was Danger",
        "d": "Changed",
        "f": "New host",
    }
    assert hosts["a"]["findings"][0]["is_new"]
    assert [note["label"] for note in hosts["b"]["notes"]] == ["Resolved"]
    assert [note["label"] for note in hosts["c"]["notes"]] == ["On 2026-01-01 06:00 UTC, not checked now"]
    assert [(note["label"], note["html"]) for note in hosts["d"]["notes"]] == [
        ("Airflow version", "2.10.5 → 2.11.2"),
        ("Configured", "kerberos_auth → basic_auth, session"),
        ("In force", "kerberos_auth → basic_auth, session"),
        ("Public role", "Op → nothing"),
    ]


def test_one_host_does_not_fill_the_page() -> None:
    text = "word " * 10_000
    shown = page({"a": {**OPEN, "warnings_found": [text] * 1000, "configured": [text] * 1000}})["hosts"][0]
    assert shown["more"] == 42
    assert sum(len(finding["html"]) for finding in shown["findings"]) < 1100
    assert max(len(cell["html"]) for cell in shown["cells"]) < 250


@pytest.mark.parametrize(
    "word",
    [
        "airflow-web-0002.eu-central-1.compute.internal.example.com",
        "DelegatingKerberosAndTokenAuthenticationBackend",
        "AIRFLOW__API__AUTH_BACKENDS",
        "x" * 300,
        "&" * 300,
        "<" * 30 + "." * 30,
        "ÄÖÜ" * 20,
        "_" * 40,
    ],
)
def test_a_long_word_can_be_broken_and_stays_itself(word: str) -> None:
    assert Elements(as_html(word)).text == word
    assert (
        max(len(piece) for piece in re.split("<wbr>", as_html(word).replace("&amp;", "&").replace("&lt;", "<"))) <= 14
    )


def test_an_ordinary_word_is_not_broken() -> None:
    for word in ("airflow.cfg", "credentials.", "2.11.2", "basic_auth,", "(file)"):
        assert as_html(word) == word


# --- what a host can do to the page -----------------------------------------------------------------

ATTACKS = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    '"><svg onload=alert(1)>',
    "' onmouseover='alert(1)",
    "</td></tr></table><h1>",
    "</script><script>alert(1)</script>",
    "</style><style>*{display:none}",
    "<!-- ",
    "]]>",
    "&lt;b&gt;",
    "javascript:alert(1)",
    "{{ 7 * 7 }}{% raw %}",
    "\u202egnp.exe\x00\x08<b>",
]


def everywhere(text: str) -> dict[str, Any]:
    """A result of the module with ``text`` wherever it can have one."""
    found: dict[str, Any] = {}
    for name, value in OPEN.items():
        found[name] = text if isinstance(value, str) or name in ("overridden_by", "restart_reason") else value
        found[name] = [text, "a." + text] if isinstance(value, list) else found[name]
    return {**found, "restart_pending": True, "server": dict.fromkeys(("url", "started", "pid", "health"), text)}


class Elements(HTMLParser):
    """The tags with their attributes, and the text, of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, tuple[str, ...]]] = []
        self.classes: set[str] = set()
        self.text = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, tuple(name for name, _value in attrs)))
        self.classes |= {word for name, value in attrs if name == "class" for word in (value or "").split()}

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.mark.parametrize("attack", ATTACKS)
def test_a_host_adds_no_element_and_no_attribute(attack: str) -> None:
    """The tags are those of the same page with a harmless word, but for places to break."""

    def shape(text: str) -> Any:
        now = {text: everywhere(text), text + "2": {"unreachable": True, "msg": text}, text + "3": {"msg": text}}
        before = {text: everywhere(text + "x"), text + "2": everywhere(text), text + "4": everywhere(text)}
        html = audits.page(now, before, then=text)
        found = Elements(html)
        return [tag for tag in found.tags if tag[0] != "wbr"], found.classes, html.count("<!--"), found

    *expected, _found = shape("word")
    *seen, found = shape(attack)
    assert seen == expected
    if attack.isprintable():
        assert attack.replace("a.", "") in found.text.replace("a.", "")


def test_the_policy_allows_the_script_of_the_page_alone() -> None:
    html = audits.page({"a": FINE})
    (script,) = re.findall(r"(?s)<script>(.*?)</script>", html)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in html, "write this hash into the template"
    assert "default-src 'none'" in html
    assert not re.search(r"https?://|//[a-z]|@import|url\(", html)


def test_each_choice_hides_hosts_without_a_script() -> None:
    results = audits.results_of(60)
    html = audits.page(results, audits.changed(results))
    for choice in choices(page(results, audits.changed(results))):
        name = f"{choice[0]}-{choice[1]}"
        assert f'id="{name}"' in html
        assert f'<label for="{name}"' in html
        if choice[1] != "all":
            assert f"#{name}:checked ~ main .host:not(.{name})" in html
            assert len(re.findall(rf'<tr role="row" class="[^"]*\b{name}\b', html)) == choice[2]


def choices(shown: dict[str, Any]) -> Iterator[tuple[str, str, int]]:
    for one in shown["filters"]:
        for choice in one["choices"]:
            yield one["name"], choice["value"], choice["count"]


def test_each_kind_of_change_has_hosts_in_the_tests() -> None:
    results = audits.results_of(60)
    found = counts(page(results, audits.changed(results)))["change"]
    assert all(found[kind] for kind in KINDS), found
