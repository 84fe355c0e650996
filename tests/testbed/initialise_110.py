# SPDX-License-Identifier: GPL-3.0-or-later
"""Run by Airflow 1.10's own interpreter: create the database and the users of a new AIRFLOW_HOME.

Reads the JSON that initialise.py reads. The API of 1.10 has users of its own, in a table that belongs to its backend
password_auth and knows no roles.
"""

from __future__ import annotations

import json
import sys

from airflow import settings
from airflow.contrib.auth.backends.password_auth import PasswordUser
from airflow.models import User
from airflow.utils import db


def main() -> None:
    order = json.load(sys.stdin)
    db.initdb(False)
    session = settings.Session()
    for user in order["users"]:
        account = PasswordUser(User())
        account.username = user["username"]
        account.email = user["username"] + "@example.com"
        account.password = user["password"]
        session.add(account)
    session.commit()


main()
