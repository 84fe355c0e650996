# SPDX-License-Identifier: GPL-3.0-or-later
"""The options of every module that calls the API."""

from __future__ import annotations

from typing import Any

from ansible.module_utils.basic import env_fallback

# As documented in doc_fragments/api.py. `connect` reads them.
API_ARGUMENTS: dict[str, Any] = {
    "url": {"type": "str", "required": True, "aliases": ["api_url"], "fallback": (env_fallback, ["AIRFLOW_API_URL"])},
    "username": {"type": "str", "fallback": (env_fallback, ["AIRFLOW_API_USERNAME"])},
    "password": {"type": "str", "no_log": True, "fallback": (env_fallback, ["AIRFLOW_API_PASSWORD"])},
    "token": {"type": "str", "no_log": True, "fallback": (env_fallback, ["AIRFLOW_API_TOKEN"])},
    "kerberos": {"type": "bool", "default": False},
    "kerberos_hostname": {"type": "str"},
    "headers": {"type": "dict", "no_log": True},
    "api_version": {"type": "str", "choices": ["auto", "experimental", "v1", "v2"], "default": "auto"},
    "validate_certs": {"type": "bool", "default": True},
    "ca_path": {"type": "path"},
    "client_cert": {"type": "path"},
    "client_key": {"type": "path", "no_log": False},
    "timeout": {"type": "float", "default": 30},
}
# To be handed to AnsibleModule beside them.
API_RULES: dict[str, Any] = {
    "required_together": [("username", "password")],
    "required_by": {"client_key": ["client_cert"]},
}
