# Copyright: Contributors to the fleetops.airflow collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options of the modules that run on an Airflow host; ``_change.options.HOST_ARGUMENTS`` is their argument spec."""

from __future__ import annotations


class ModuleDocFragment:
    """Merged into a module's documentation by C(extends_documentation_fragment)."""

    DOCUMENTATION = r"""
options:
  path:
    description:
      - The C(airflow.cfg) that is meant.
      - If neither this nor O(airflow_home) is given, it is the file that the running server reads. If O(service) is
        given and does not run, it is the file that the service reads by its own user and environment; the task fails
        if these do not tell. Otherwise it is the file that Airflow would read in the environment of the task.
      - If the server runs in a container, or in a unit with C(BindPaths=), it is the file on this host that the server
        sees. The task fails if the server sees another file.
    type: path
    aliases: [config_file]
  airflow_home:
    description: The folder that holds C(airflow.cfg). Not together with O(path).
    type: path
  airflow_version:
    description:
      - The Airflow version. Normally found from the package that the server has loaded or that its interpreter imports.
    type: str
  airflow_executable:
    description:
      - The C(airflow) program. Normally found from the Airflow processes that read this configuration, else on C(PATH).
    type: path
  url:
    description:
      - The base URL of the server, where its health is asked and a login is tried.
      - By default that is worked out from the server's own arguments, its environment and C(airflow.cfg).
    type: str
  validate_certs:
    description: Whether to check the server's certificate if O(url) is C(https).
    type: bool
    default: true
  ca_path:
    description: A file with the certificates of the authorities to trust instead of the system's.
    type: path
notes:
  - Runs on the host of the Airflow server, which has to be Linux. Needs only Python 3.8 and its standard library.
  - It looks into the server's process, so usually C(become) is V(true).
"""
