# SPDX-License-Identifier: GPL-3.0-or-later
"""Build the collection, install it from the file, read its documentation there, and import it as Galaxy does."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
WORK = ROOT / ".build/package"
INSTALLED = WORK / "installed"
BIN = Path(sys.executable).parent
IMPORTER_BIN = ROOT / ".build/importer/bin"
COLLECTION = "fleetops.airflow"


class PackageError(Exception):
    """The package is not what it should be."""


def environment(path: Path) -> dict[str, str]:
    """Return an environment in which the collection is found where it gets installed, and not in the checkout."""
    names = {**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(INSTALLED)}
    names["PATH"] = f"{path}{os.pathsep}{names['PATH']}"
    names.pop("PYTHONPATH", None)
    return names


def run(command: list[str | Path], cwd: Path = WORK, path: Path = BIN) -> str:
    """Return what ``command`` printed; raise PackageError when it fails."""
    done = subprocess.run(
        command,
        cwd=cwd,
        env=environment(path),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode:
        raise PackageError(f"{Path(command[0]).name} ended with {done.returncode}:\n{done.stdout}")
    return done.stdout


def build() -> Path:
    """Return the built file."""
    run([BIN / "ansible-galaxy", "collection", "build", "--output-path", WORK], cwd=ROOT)
    (file,) = WORK.glob("*.tar.gz")
    print("built", file.relative_to(ROOT))
    return file


def install(file: Path) -> Path:
    """Install ``file`` and return the folder of the installed collection."""
    output = run([BIN / "ansible-galaxy", "collection", "install", file, "--offline", "--collections-path", INSTALLED])
    folder = INSTALLED / "ansible_collections" / COLLECTION.replace(".", "/")
    if not folder.is_dir():
        raise PackageError(f"ansible-galaxy installed nothing:\n{output}")
    print("installed", folder.relative_to(ROOT))
    return folder


def read_documentation(folder: Path) -> None:
    """Have ansible-doc show each module of the installed collection, and see that no part is missing."""
    names = sorted(f"{COLLECTION}.{file.stem}" for file in folder.glob("plugins/modules/*.py"))
    if not names:
        raise PackageError("the built collection has no modules")
    for name in names:
        shown = json.loads(run([BIN / "ansible-doc", "--json", "--type", "module", name]))[name]
        missing = [part for part in ("doc", "examples", "return") if not shown.get(part)]
        if missing:
            raise PackageError(f"ansible-doc {name} shows no {', '.join(missing)}")
        text = run([BIN / "ansible-doc", "--type", "module", name])
        missing = [option for option in shown["doc"].get("options", {}) if option not in text]
        if missing or "WARNING" in text:
            raise PackageError(f"ansible-doc {name} lacks {missing} or warns:\n{text}")
        print(f"ansible-doc shows {name}: {len(shown['doc'].get('options', {}))} options")


def import_as_galaxy(file: Path) -> None:
    """Let galaxy-importer read ``file``; a warning counts as an error."""
    output = run([IMPORTER_BIN / "python", "-m", "galaxy_importer.main", file], path=IMPORTER_BIN)
    complaints = [line for line in output.splitlines() if line.startswith(("WARNING", "ERROR"))]
    print(output, end="")
    if complaints or "Importer processing completed successfully" not in output:
        raise PackageError("galaxy-importer is not content:\n" + "\n".join(complaints))


def describe_execution_environment(file: Path, folder: Path) -> None:
    """Let ansible-builder make what a container is built from, and see that it knows what the collection needs."""
    context = WORK / "execution-environment"
    shutil.copytree(ROOT / "docs/execution-environment", context)
    shutil.copy(file, context / "fleetops-airflow.tar.gz")
    run([BIN / "ansible-builder", "create", "--output-filename", "Containerfile"], cwd=context)
    # As the recipe does it in the container, except that nothing is fetched.
    wanted = [
        "collection",
        "install",
        "--offline",
        "--requirements-file",
        "requirements.yml",
        "--collections-path",
        ".",
    ]
    run([BIN / "ansible-galaxy", *wanted], cwd=context / "context/_build")
    needs = run([BIN / "ansible-builder", "introspect", folder.parents[2]])
    if "requests" not in needs:
        raise PackageError(f"the execution environment would lack requests:\n{needs}")
    print("ansible-builder takes the execution environment")


def main() -> None:
    """Do it all in a fresh folder."""
    shutil.rmtree(WORK, ignore_errors=True)
    WORK.mkdir(parents=True)
    file = build()
    folder = install(file)
    read_documentation(folder)
    describe_execution_environment(file, folder)
    import_as_galaxy(file)


if __name__ == "__main__":
    try:
        main()
    except PackageError as error:
        sys.exit(str(error))
