# SPDX-License-Identifier: GPL-3.0-or-later
"""Run by Airflow's own interpreter: create the database and the users of a new AIRFLOW_HOME.

Reads JSON from stdin: {"migrate": ["db", "migrate"], "users": [{"username", "password", "role"}, ...]}.
Importing Airflow takes seconds, so this runs all the commands of its command line in one process.
"""

from __future__ import annotations

import json
import sys

from airflow.cli import cli_parser


def main() -> None:
    order = json.load(sys.stdin)
    parser = cli_parser.get_parser()

    def airflow(*args: str) -> None:
        sys.argv = ["airflow", *args[:2]]  # what Airflow's own log of commands reads; no password in there
        arguments = parser.parse_args(args)
        arguments.func(arguments)

    airflow(*order["migrate"])
    airflow("sync-perm")  # up to 2.6 only the roles Admin and Public exist before it
    for user in order["users"]:
        name = user["username"]
        airflow(
            *("users", "create", "--username", name, f"--password={user['password']}", "--role", user["role"]),
            *("--firstname", name.capitalize(), "--lastname", "Testbed", "--email", f"{name}@example.com"),
        )


main()
