# SPDX-License-Identifier: GPL-3.0-or-later
"""Run `make demo` in a terminal, record what it prints, and draw its beginning as docs/demo.svg.

Nothing is in the picture that the run has not printed, except the command, and "…" where lines are left out.
"""

from __future__ import annotations

import io
import os
import pty
import re
import sys
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import TerminalTheme
from rich.text import Text

CHECKOUT = Path(__file__).resolve().parents[1]
PICTURE = CHECKOUT / "docs/demo.svg"
RECORDING = CHECKOUT / ".demo/recording"
COLUMNS = 118
LEFT_OUT = "…"

# Left out are the lines from one that matches the first expression up to the one before the next that matches the
# second. Colors do not count.
CUTS = (
    ("This demo shows", "=== 1"),
    (r"PLAY \[Run the DAG", "TASK"),
    (r"\[ERROR\]", "fatal:"),
    ("    failed_tasks:", "PLAY RECAP"),
    (r"PLAY \[Enable", "TASK .*Have the REST API"),
    ("--- before", "@@"),
    ("        conf:", "        run_id:"),
    ("        url:", "PLAY RECAP"),
    ("=== 4", "(?!)"),  # up to the end
)

# On this background each of the colors that Ansible uses has a contrast of at least 4.5 to 1.
THEME = TerminalTheme(
    background=(22, 27, 34),
    foreground=(230, 237, 243),
    normal=[
        (139, 148, 158),  # black
        (255, 123, 114),  # red
        (126, 231, 135),  # green
        (227, 179, 65),  # yellow
        (121, 192, 255),  # blue
        (210, 168, 255),  # magenta
        (118, 227, 234),  # cyan
        (230, 237, 243),  # white
    ],
)

# rich's own format loads a font over the network. Each text has its length, so that any monospace font fits.
FORMAT = """\
<svg class="rich-terminal" viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg">
<!-- SPDX-License-Identifier: GPL-3.0-or-later -->
<title>make demo: the right password is rejected with a diagnosis, the role fixes it, the DAG run succeeds</title>
<style>
.{unique_id}-matrix {{
  font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace;
  font-size: {char_height}px;
  line-height: {line_height}px;
}}
.{unique_id}-title {{ font-size: 18px; font-weight: bold; font-family: sans-serif; }}
{styles}
</style>
<defs>
<clipPath id="{unique_id}-clip-terminal">
<rect x="0" y="0" width="{terminal_width}" height="{terminal_height}" />
</clipPath>
{lines}
</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix">
{matrix}
</g>
</g>
</svg>
"""


def main() -> int:
    """Record, shorten, draw; with `redraw` from the last recording. Returns the exit status of the demo."""
    status = 0 if sys.argv[1:] == ["redraw"] else record()
    if status == 0:
        lines = visible_lines(RECORDING.read_text(encoding="utf-8"))
        PICTURE.write_text(draw(shorten(["$ make demo", *lines])), encoding="utf-8")
        print(f"{PICTURE}: {PICTURE.stat().st_size / 1000:.0f} kB")
    return status


def record() -> int:
    """Run the demo in a terminal and keep what it prints there; returns its exit status."""
    printed = bytearray()

    def read(descriptor: int) -> bytes:
        data = os.read(descriptor, 65536)
        printed.extend(data)
        return data

    os.environ["TERM"] = "xterm-256color"
    status = pty.spawn([sys.executable, str(CHECKOUT / "demo/demo.py"), "up"], read)
    RECORDING.write_bytes(printed)
    return os.waitstatus_to_exitcode(status)


def visible_lines(output: str) -> list[str]:
    """The lines as they stand on the screen at the end: of one that was written over, what came last."""
    return [line.rstrip("\r").rpartition("\r\x1b[K")[2] for line in output.split("\n")]


def shorten(lines: list[str]) -> list[str]:
    """The lines without the CUTS, wherever they apply."""
    for first, last in CUTS:
        kept: list[str] = []
        cutting = False
        for line in lines:
            if starts(line, last):
                cutting = False
            elif starts(line, first) and not cutting:
                cutting = True
                kept.append(LEFT_OUT)
            if not cutting:
                kept.append(line)
        if kept == lines:
            raise SystemExit(f"The demo does not print {first!r} any more: correct CUTS.")
        lines = kept
    return lines


def starts(line: str, expression: str) -> bool:
    """Whether the line starts so, whatever its color."""
    return re.match(expression, re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", line)) is not None


def draw(lines: list[str]) -> str:
    """The lines in a terminal window, as SVG."""
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True, color_system="truecolor")
    for line in lines:
        console.print(Text.from_ansi(line), overflow="fold")
    return console.export_svg(title="make demo", theme=THEME, code_format=FORMAT, unique_id="demo")


if __name__ == "__main__":
    sys.exit(main())
