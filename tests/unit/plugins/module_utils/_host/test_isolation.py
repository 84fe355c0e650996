# SPDX-License-Identifier: GPL-3.0-or-later
"""Which views of the file system are those of containers that root has started, by their control groups."""

from __future__ import annotations

import os
from typing import Any

import pytest
from ansible_collections.fleetops.airflow.plugins.module_utils._host import proc
from ansible_collections.fleetops.airflow.plugins.module_utils._host.isolation import view_of

ID = "0123456789ab" + "c" * 52


@pytest.mark.parametrize(
    ("group", "where", "by_root"),
    [
        (f"/system.slice/docker-{ID}.scope", "the container 0123456789ab", True),
        (f"/docker/{ID}", "the container 0123456789ab", True),
        (f"/machine.slice/libpod-{ID}.scope", "the container 0123456789ab", True),
        ("/machine.slice/machine-web1.scope", "the container web1", True),
        (f"/kubepods.slice/kubepods-pod1.slice/cri-containerd-{ID}.scope", "the container 0123456789ab", True),
        (f"/user.slice/user-1000.slice/user@1000.service/libpod-{ID}.scope", "the container 0123456789ab", False),
        (f"/system.slice/of-a-user.service/docker-{ID}.scope", "the container 0123456789ab", False),
        ("/system.slice/airflow.service", "a container (mount namespace of its own)", False),
    ],
)
def test_whose_container_it_is(monkeypatch: pytest.MonkeyPatch, group: str, where: str, by_root: bool) -> None:
    link, stat = os.readlink, os.stat

    def other_root(path: str, **options: Any) -> os.stat_result:
        return stat("/proc" if path == "/proc/7/root" else path, **options)

    monkeypatch.setattr(os, "readlink", lambda path: "mnt:[7]" if path == "/proc/7/ns/mnt" else link(path))
    monkeypatch.setattr(os, "stat", other_root)
    monkeypatch.setattr(proc, "control_group", lambda _pid: group)
    view = view_of(7)
    assert view
    assert (view.where, view.is_container, view.by_root) == (where, True, by_root)
