# SPDX-License-Identifier: GPL-3.0-or-later
"""What the documents name is there: targets of make, files and headings that links lead to."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]
DOCUMENTS = [
    path.relative_to(CHECKOUT)
    for path in (
        *CHECKOUT.glob("*.md"),
        *CHECKOUT.glob("docs/*.md"),
        *CHECKOUT.glob("roles/*/README.md"),
    )
]


def targets() -> set[str]:
    """The targets of the Makefile that `make help` lists."""
    return set(re.findall(r"(?m)^([a-z-]+):.* ## ", (CHECKOUT / "Makefile").read_text()))


def anchors(document: Path) -> set[str]:
    """What headings are called in links, as GitHub makes it; and names that the document gives."""
    text = document.read_text(encoding="utf-8")
    headings = re.findall(r"(?m)^#+ (.*)$", text)
    made = {re.sub(r"[^\w -]", "", heading.replace("`", "").lower()).replace(" ", "-") for heading in headings}
    return made | set(re.findall(r'<a id="([^"]+)">', text))


def test_documents_are_found() -> None:
    assert {Path("README.md"), Path("CONTRIBUTING.md"), Path("docs/fleets.md")} <= set(DOCUMENTS)


@pytest.mark.parametrize("document", DOCUMENTS, ids=str)
def test_each_target_of_make_exists(document: Path) -> None:
    text = (CHECKOUT / document).read_text(encoding="utf-8")
    code = re.findall(r"`(make [a-z -]+)`", text) + re.findall(r"(?m)^\$ (make [a-z -]+)", text)
    named = {word for command in code for word in command.split()[1:]}
    assert named <= targets(), named - targets()


@pytest.mark.parametrize("document", DOCUMENTS, ids=str)
def test_each_link_to_a_file_leads_somewhere(document: Path) -> None:
    here = CHECKOUT / document
    text = re.sub(r"(?ms)^```.*?^```$", "", here.read_text(encoding="utf-8"))
    for link in re.findall(r"\]\(([^)\s]+)\)", text) + re.findall(r'(?:src|srcset|href)="([^"]+)"', text):
        if re.match(r"[a-z]+:", link):
            continue
        path, _hash, anchor = link.partition("#")
        target = (here.parent / path).resolve() if path else here
        assert target.exists(), f"{document}: {link}"
        assert not anchor or anchor in anchors(target), f"{document}: {link}"
