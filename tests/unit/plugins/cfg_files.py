# SPDX-License-Identifier: GPL-3.0-or-later
"""Files as Airflow can read them, as many different ones as anybody wants."""

from __future__ import annotations

import random


def readable_file(seed: int) -> str:
    """A file that Airflow can read, in one of the many ways in which people write one."""
    pick = random.Random(seed)
    lines = ["# top"] * pick.randrange(2)
    for section in pick.sample(["api", "core", "webserver", " api", "DEFAULT", "new"], pick.randrange(1, 5)):
        lines.append("[%s]%s" % (section, pick.choice(["", "", " # c"])))
        indent = pick.choice(["", "", "", "  "])
        for name in pick.sample(["auth_backends", "auth_backend", "limit", "AUTH_BACKENDS", "x"], pick.randrange(5)):
            lines += pick.choice([[], [], [""], ["# " + name + " = default"], [";" + name]])
            lines.append(
                indent + name + pick.choice([" = ", "=", ": ", " :", "  =\t"]) + pick.choice(["a.b", "", "1 # c", "é"])
            )
            lines += pick.choice([[], [], [], [indent + "  more"], [indent + "  # inside", indent + "\tmore", ""]])
    return pick.choice(["\n", "\n", "\r\n", "\r"]).join(lines) + pick.choice(["\n", ""])
