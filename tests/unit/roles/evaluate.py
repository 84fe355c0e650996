# SPDX-License-Identifier: GPL-3.0-or-later
"""Evaluates templates with the plugins of the collection. A process of its own: Ansible imports these in its own way.

Reads a line of JSON for each: the template, its variables, the environment. Writes one: the value, or the error.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping
from typing import Any

from ansible.errors import AnsibleError
from ansible.parsing.dataloader import DataLoader
from ansible.plugins.loader import init_plugin_loader
from ansible.template import Templar

try:
    from ansible.template import trust_as_template as _trust
except ImportError:  # before ansible-core 2.19 every text is a template
    _trust: Callable[[str], str] = str  # type: ignore[no-redef]


def trusted(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: trusted(one) for name, one in value.items()}
    if isinstance(value, list):
        return [trusted(one) for one in value]
    return _trust(value) if isinstance(value, str) else value


def main() -> None:
    init_plugin_loader([sys.argv[1]])
    before = dict(os.environ)
    for line in sys.stdin:
        text, variables, environment = json.loads(line)
        os.environ.clear()
        os.environ.update({**before, **environment})
        try:
            value = Templar(loader=DataLoader(), variables=trusted(variables)).template(_trust(text))
            answer = {"value": value}
        except AnsibleError as error:
            answer = {"error": str(error)}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
