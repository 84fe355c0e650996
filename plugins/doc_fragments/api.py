# Copyright: Contributors to the fleetops.airflow collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options of every module that calls Airflow's REST API."""

from __future__ import annotations


class ModuleDocFragment:
    """Where the API is and how to log in. The argument spec is C(API_ARGUMENTS) in C(_api/arguments.py)."""

    DOCUMENTATION = r"""
requirements:
  - The Python library C(requests) on the host that runs the module. If the interpreter of the task lacks it, an
    interpreter that has it is looked for, among them the one that runs Airflow on that host.
  - With O(kerberos=true) the Python library C(requests-gssapi) or C(requests-kerberos) as well.
options:
  url:
    description:
      - Where Airflow's webserver is, as a browser would be told, for example V(https://airflow.example.com) or, behind
        a base path, V(https://example.com/airflow).
      - A trailing slash, or the path of the API at its end, does not matter.
      - It must not hold a login. Use O(username) and O(password).
      - If not given, the value of the environment variable E(AIRFLOW_API_URL) is used.
    type: str
    required: true
    aliases: [api_url]
  username:
    description:
      - The Airflow user to log in as.
      - Without O(username) and O(password) the API is called without a login, which only a server that is open to
        everyone accepts.
      - If not given, the value of the environment variable E(AIRFLOW_API_USERNAME) is used.
    type: str
  password:
    description:
      - The password of O(username). It may hold any character.
      - It is sent to the host of O(url) and to no other, not even if that host answers with a redirect.
      - If not given, the value of the environment variable E(AIRFLOW_API_PASSWORD) is used.
    type: str
  kerberos:
    description:
      - Whether to log in with a Kerberos ticket, in place of O(username) and O(password). The backend V(kerberos_auth)
        has to be in force, see M(fleetops.airflow.airflow_api_auth).
      - The ticket is taken from the credential cache of the task's environment (E(KRB5CCNAME)), or got with the client
        keytab that E(KRB5_CLIENT_KTNAME) names. The C(environment) keyword of a task sets them.
      - The Python library C(requests-gssapi) or C(requests-kerberos) is needed where the task runs.
    type: bool
    default: false
  kerberos_hostname:
    description:
      - With O(kerberos=true), the host in the server's principal C(airflow/HOST). Airflow takes the name of its own
        host, so this is needed where O(url) has another one, as behind a proxy.
      - If not given, the host of O(url).
    type: str
  token:
    description:
      - A ready token in place of O(username) and O(password), sent as C(Authorization) C(Bearer).
      - Airflow 3 gives one for a username and a password by itself. Then it is asked for with O(username) and
        O(password), kept for this task and never shown, and asked for once more if it ends in between.
      - If not given, the value of the environment variable E(AIRFLOW_API_TOKEN) is used.
    type: str
  headers:
    description:
      - Headers to send with every request, as a gateway in front of Airflow may want them. Names and values.
      - The values are not shown.
    type: dict
  api_version:
    description:
      - The generation of the REST API.
      - V(v1) is the stable API of Airflow 2, V(v2) that of Airflow 3, and V(experimental) the one of Airflow 1.10.
      - V(auto) finds out which one the server speaks. It begins with V(v1), or with V(v2) if there is a O(token), and
        asks the server for its version only if the answer is none of that generation.
    type: str
    choices: [auto, experimental, v1, v2]
    default: auto
  validate_certs:
    description:
      - Whether the server's TLS certificate must be valid.
      - Set to V(false) only where nobody could stand between the module and the server, since the password travels.
    type: bool
    default: true
  ca_path:
    description:
      - A file, or a folder as made by C(openssl rehash), with the certificates of the authorities to trust, in PEM
        format.
      - Without it the ones of the C(requests) library count, or those that the environment variable
        E(REQUESTS_CA_BUNDLE) names.
    type: path
  client_cert:
    description: A client certificate to show to the server, in PEM format. The file may hold the key as well.
    type: path
  client_key:
    description: The private key of O(client_cert), in PEM format and without a passphrase.
    type: path
  timeout:
    description:
      - How many seconds one request may wait for the server.
      - A request that fails in a way that may pass (connection refused, a dropped connection, HTTP status 429, 502, 503
        or 504) is repeated for at most 60 seconds from the first failure on, so that a restart of the webserver is
        waited for. C(Retry-After) is obeyed. A wrong port is reported after these 60 seconds, a wrong host name at
        once.
    type: float
    default: 30
notes:
  - Proxies are taken from the environment variables E(http_proxy), E(https_proxy) and E(no_proxy). A C(netrc) file is
    never read.
  - If Airflow 2 refuses a call and its answer does not tell why, the same username and password are tried once in the
    login form of its web interface, to tell a wrong password from a server that does not take passwords at its API.
    Airflow counts that as one login of the user.
"""
