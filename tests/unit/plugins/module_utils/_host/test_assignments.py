# SPDX-License-Identifier: GPL-3.0-or-later
"""What a configuration in Python sets, told without running it, or not told."""

from __future__ import annotations

import ast

import pytest
from ansible_collections.fleetops.airflow.plugins.module_utils._host.assignments import assigned_text

# As Airflow ships it, in short.
SHIPPED = '''
"""Default configuration."""
from __future__ import annotations
import os
from flask_appbuilder.const import AUTH_DB
basedir = os.path.abspath(os.path.dirname(__file__))
WTF_CSRF_ENABLED = True
AUTH_TYPE = AUTH_DB
# AUTH_ROLE_PUBLIC = "Admin"
'''


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", ""),
        ("AUTH_ROLE_PUBLIC = 'Viewer'", "Viewer"),
        ("AUTH_ROLE_PUBLIC: str = 'Viewer'", "Viewer"),
        ("AUTH_ROLE_PUBLIC = 'Admin'\nAUTH_ROLE_PUBLIC = 'Viewer'", "Viewer"),
        ("from company_auth import *\nAUTH_ROLE_PUBLIC = 'Viewer'", "Viewer"),
        ("print(AUTH_ROLE_PUBLIC)\ndef f(): return AUTH_ROLE_PUBLIC", ""),
        ("AUTH_ROLE_PUBLIC = 'Viewer'\nfrom company_auth import *", None),
        ("from company_auth import *", None),
        ("from company_auth import AUTH_ROLE_PUBLIC", None),
        ("from company_auth import ROLE as AUTH_ROLE_PUBLIC", None),
        ("import company as AUTH_ROLE_PUBLIC", None),
        ("AUTH_ROLE_PUBLIC = os.environ['ROLE']", None),
        ("AUTH_ROLE_PUBLIC = 'A' if x else 'B'", None),
        ("AUTH_ROLE_PUBLIC += 'x'", None),
        ("X = AUTH_ROLE_PUBLIC = 'Viewer'", None),
        ("X, AUTH_ROLE_PUBLIC = 1, 'Viewer'", None),
        ("if os.environ.get('X'):\n    AUTH_ROLE_PUBLIC = 'Admin'", None),
        ("try:\n    from local_settings import *\nexcept ImportError:\n    pass", None),
        ("for AUTH_ROLE_PUBLIC in ['Admin']: pass", None),
        ("with x() as AUTH_ROLE_PUBLIC: pass", None),
        ("(AUTH_ROLE_PUBLIC := 'Admin')", None),
        ("def AUTH_ROLE_PUBLIC(): pass", None),
        ("class AUTH_ROLE_PUBLIC: pass", None),
        ("def f():\n    global AUTH_ROLE_PUBLIC\n    AUTH_ROLE_PUBLIC = 'Admin'\nf()", None),
        ("exec(open('/etc/more.py').read())", None),
        ("globals()['AUTH_ROLE_' + 'PUBLIC'] = 'Admin'", None),
        ("globals().update(x)", None),
        ("import sys; setattr(sys.modules[__name__], 'AUTH_ROLE_PUBLIC', 'Admin')", None),
        ("del AUTH_ROLE_PUBLIC", None),
    ],
)
def test_what_is_set(text: str, value: str | None) -> None:
    assert assigned_text(ast.parse(SHIPPED + text), "AUTH_ROLE_PUBLIC") == value
