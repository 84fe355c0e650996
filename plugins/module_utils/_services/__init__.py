# SPDX-License-Identifier: GPL-3.0-or-later
"""What restarts a server: the service managers, behind one vocabulary."""
