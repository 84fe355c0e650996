# Copyright: Contributors to the fleetops.airflow collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options of the modules that change airflow.cfg; ``_change.options.CONVERGE_ARGUMENTS`` is their argument spec."""

from __future__ import annotations


class ModuleDocFragment:
    """Merged into a module's documentation by C(extends_documentation_fragment)."""

    DOCUMENTATION = r"""
options:
  restart:
    description:
      - V(when_needed) restarts the server if the file changes, if the server is older than the file, and if it does not
        run although O(service) or O(restart_command) says how to start it.
      - V(never) leaves that to a handler; RV(restart_pending) then says that one is needed.
      - V(always) restarts in any case.
    type: str
    choices: [when_needed, never, always]
    default: when_needed
  service:
    description:
      - The services to restart, in this order. A unit of systemd, a program as C(supervisorctl status) names it, or a
        script in C(/etc/init.d).
      - Not needed where the running server was started by systemd or supervisor itself.
      - If there are several, each is restarted once. The servers of the API among them have to become healthy, and the
        others to stay up.
    type: list
    elements: str
  service_manager:
    description:
      - What restarts the services. V(auto) takes O(restart_command) if it is given, else what runs the server, else
        what knows the name that O(service) gives.
    type: str
    choices: [auto, systemd, supervisor, sysvinit, command]
    default: auto
  restart_command:
    description:
      - A shell command that restarts the server and returns when it has been started, for instance
        V(docker restart airflow-webserver). Not together with O(service).
      - It has to stop the server wholly. C(SIGHUP) does not make Airflow 2 read its configuration again.
      - It has 15 minutes, and is ended then.
    type: str
  health_timeout:
    description:
      - How many seconds the server may take until it is healthy after a restart.
      - They begin when the service manager has started it. What that takes, such as a migration before the server, is
        waited for and not interrupted. After a rollback the server gets at least 300 seconds.
      - It has to be healthy as well if there was nothing to change. It gets the same time for that, because somebody
        may have started it a moment ago.
    type: int
    default: 120
  rollback:
    description: Whether to put the old file back and restart again if the server is not healthy with the change.
    type: bool
    default: true
  backup:
    description: Whether to keep the old file, with its owner, mode and times, beside the new one.
    type: bool
    default: false
"""
