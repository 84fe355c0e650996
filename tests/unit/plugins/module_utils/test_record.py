# SPDX-License-Identifier: GPL-3.0-or-later
"""Records behave as NamedTuples do."""

from __future__ import annotations

import copy
import pickle
from typing import Any, Callable, NamedTuple

import pytest
from ansible_collections.fleetops.airflow.plugins.module_utils._record import Record


class Ours(Record):
    """A record."""

    x: int
    y: str = "why"
    z: list[int] | None = None

    @property
    def double(self) -> int:
        return 2 * self.x


class Theirs(NamedTuple):
    """A record."""

    x: int
    y: str = "why"
    z: list[int] | None = None

    @property
    def double(self) -> int:
        return 2 * self.x


KINDS: tuple[Any, Any] = (Ours, Theirs)


@pytest.mark.parametrize(
    "use",
    [
        lambda kind: kind(1),
        lambda kind: kind(1, "b", [3]),
        lambda kind: kind(y="b", x=1),
        lambda kind: kind(1, z=[3]),
        lambda kind: kind(1)._replace(y="b"),
        lambda kind: copy.deepcopy(kind(1, "b", [3])),
        lambda kind: pickle.loads(pickle.dumps(kind(1, "b", [3]))),
        lambda kind: kind(*kind(1)),
        lambda kind: kind(1)[1:],
        lambda kind: kind(1)._asdict(),
        lambda kind: kind(1) == (1, "why", None),
        lambda kind: kind(1) == kind(2),
        lambda kind: kind(2).double,
        lambda kind: (kind(2).x, kind(2).y, kind(2).z),
        lambda kind: kind._fields,
        lambda kind: kind._field_defaults,
        lambda kind: kind.__doc__,
        lambda kind: isinstance(kind(1), tuple),
        lambda kind: repr(kind(1)).partition("(")[2],
        lambda kind: hash(kind(1)),
        lambda kind: {kind(1): "found"}[kind(1)],
    ],
)
def test_as_a_named_tuple(use: Callable[[Any], Any]) -> None:
    ours, theirs = (use(kind) for kind in KINDS)
    assert ours == theirs
    assert isinstance(ours, Ours) == isinstance(theirs, Theirs)


@pytest.mark.parametrize(
    "misuse",
    [
        lambda kind: kind(),
        lambda kind: kind(1, "b", [], 4),
        lambda kind: kind(1, x=1),
        lambda kind: kind(1, other=1),
        lambda kind: kind(y="b"),
    ],
)
def test_wrong_fields(misuse: Callable[[Any], Any]) -> None:
    for kind in KINDS:
        with pytest.raises(TypeError):
            misuse(kind)
    with pytest.raises(TypeError, match="Ours has the fields x, y, z"):
        misuse(Ours)


def test_nothing_can_be_set() -> None:
    for kind in KINDS:
        for name in ("x", "other"):
            with pytest.raises(AttributeError):
                setattr(kind(1), name, 1)
