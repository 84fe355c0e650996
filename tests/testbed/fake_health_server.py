# SPDX-License-Identifier: GPL-3.0-or-later
"""A stand-in for Airflow's server, run as `python .../airflow webserver PORT`: it answers /health as Airflow does.

For tests that need more servers, or more restarts, than a machine has time and memory for. Its name and its environment
are what makes it Airflow's server to the collection.
"""

from __future__ import annotations

import http.server
import sys


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = b'{"metadatabase": {"status": "healthy"}}'
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  (the name is http.server's)
        """Say nothing."""


http.server.HTTPServer.allow_reuse_address = True
http.server.HTTPServer(("127.0.0.1", int(sys.argv[2])), Handler).serve_forever()
