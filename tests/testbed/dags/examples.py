# SPDX-License-Identifier: GPL-3.0-or-later
"""The testbed's DAGs, for every Airflow release from 1.10 on. They run only when triggered.

``hello`` succeeds and logs its conf; ``fails`` fails with a clear error; ``slow`` sleeps ``conf["seconds"]``
(default 30); ``paused`` is like ``hello`` and stays paused until somebody unpauses it.
"""

from __future__ import annotations

import json
import time
from datetime import datetime, timezone
from typing import Any, Callable

import airflow
from airflow import DAG

RELEASE = tuple(int(part) for part in airflow.__version__.split(".")[:2])

if RELEASE >= (3, 0):
    from airflow.providers.standard.operators.python import PythonOperator
elif RELEASE >= (2, 0):
    from airflow.operators.python import PythonOperator
else:
    from airflow.operators.python_operator import PythonOperator


def manual(dag_id: str, task_id: str, function: Callable[..., None], paused: bool = False) -> DAG:
    """A DAG of one task, without a schedule."""
    dag = DAG(
        dag_id,
        start_date=datetime(2024, 1, 1, tzinfo=timezone.utc),
        is_paused_upon_creation=paused,
        **{"schedule" if RELEASE >= (2, 4) else "schedule_interval": None},
    )
    extra = {"provide_context": True} if RELEASE < (2, 0) else {}
    PythonOperator(task_id=task_id, python_callable=function, dag=dag, **extra)
    return dag


def greet(dag_run: Any, **_context: Any) -> None:
    print("conf: " + json.dumps(dag_run.conf, sort_keys=True))


def fail(**_context: Any) -> None:
    raise ValueError("this task always fails")


def sleep(dag_run: Any, **_context: Any) -> None:
    time.sleep(float((dag_run.conf or {}).get("seconds", 30)))


hello = manual("hello", "greet", greet)
fails = manual("fails", "fail", fail)
slow = manual("slow", "sleep", sleep)
paused = manual("paused", "greet", greet, paused=True)
