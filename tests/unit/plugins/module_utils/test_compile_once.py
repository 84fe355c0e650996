# Copyright: Contributors to the fleetops.airflow collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""In a zip, as Ansible makes it, each file is compiled once: in a Python of its own, as a task has it."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.fleetops.airflow.plugins.module_utils import _compile_once

SOURCE = Path(_compile_once.__file__).read_text()
PROGRAM = """
import builtins, json, sys
sys.path.insert(0, sys.argv[1])
compiled, real = [], builtins.compile
def counting(source, name, *others, **more):
    compiled.append(name.replace(sys.argv[1], ""))
    return real(source, name, *others, **more)
builtins.compile = counting
try:
    import module
    inner, deep = module.beside.inner, module.beside.deep
    found = [one.__file__.replace(sys.argv[1], "") for one in (module.beside, inner, deep)]
    found += [inner.VALUE, deep.VALUE, module.json.__name__]
except ImportError as error:
    found = [str(error)]
print(json.dumps([compiled, found]))
"""


def imported(archive: Path, **files: str) -> tuple[list[str], list[Any]]:
    """What is compiled, and what is found, when module.py of a zip is imported."""
    with zipfile.ZipFile(archive, "w") as zipped:
        for name, text in {"utils/__init__": "", **files}.items():
            zipped.writestr(name + ".py", text)
    done = subprocess.run([sys.executable, "-c", PROGRAM, str(archive)], capture_output=True, text=True, check=True)
    compiled, found = json.loads(done.stdout)
    return compiled, found


@pytest.mark.parametrize(("first", "times"), [("_compile_once, ", 1), ("", 2)])
def test_how_often_a_file_is_compiled(tmp_path: Path, first: str, times: int) -> None:
    compiled, found = imported(
        tmp_path / "a.zip",
        **{
            "module": f"import json\nfrom utils import {first}beside\n",
            "utils/_compile_once": SOURCE,
            "utils/beside": "from utils import inner\nfrom utils.inner import deep\n",
            "utils/inner/__init__": "VALUE = 1\n",
            "utils/inner/deep": "VALUE = 2\n",
        },
    )
    files = ["/utils/beside.py", "/utils/inner/__init__.py", "/utils/inner/deep.py"]
    assert [compiled.count(file) for file in files] == [times] * 3
    assert found == [*files, 1, 2, "json"]


@pytest.mark.parametrize("missing", ["utils.nothing", "utils.inner.nothing"])
def test_what_is_missing_is_said_to_be(tmp_path: Path, missing: str) -> None:
    _compiled, found = imported(
        tmp_path / "a.zip",
        **{"module": f"from utils import _compile_once\nimport {missing}\n", "utils/_compile_once": SOURCE},
        **{"utils/inner/__init__": ""},
    )
    assert found == [f"No module named '{missing}'"]


def test_outside_a_zip_nothing_is_done() -> None:
    assert not any(isinstance(finder, _compile_once._Finder) for finder in sys.meta_path)


MODULES = sorted((Path(_compile_once.__file__).parents[1] / "modules").glob("*.py"))


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.stem))
def test_every_module_imports_it_first(module: Path) -> None:
    ours = [line for line in module.read_text().splitlines() if ".plugins.module_utils" in line and "import" in line]
    assert ours[0].partition(" import ")[2].startswith("_compile_once")
