# SPDX-License-Identifier: GPL-3.0-or-later
"""Options of airflow.cfg as a task gives them, checked against what the installed release knows."""

from __future__ import annotations

from typing import Any, Callable, Mapping

from ansible_collections.fleetops.airflow.plugins.module_utils._cfg.settings import Setting, is_secret_name
from ansible_collections.fleetops.airflow.plugins.module_utils._errors import AirflowError
from ansible_collections.fleetops.airflow.plugins.module_utils._host.host import Host
from ansible_collections.fleetops.airflow.plugins.module_utils._host.known_options import (
    KnownOptions,
    read_known_options,
)


def section_options(
    host: Host, known: KnownOptions | None, section: str, options: Mapping[str, Any], warn: Callable[[str], None]
) -> list[Setting]:
    """Options of one section, all of which the release has to know.

    :param known: what options_known_to gave.
    :raises AirflowError: if it does not know one, or one is an option of the module.
    """
    for option in options:
        if (section, option) in [(host.family.section, name) for name in (host.family.option, *host.family.superseded)]:
            raise AirflowError("options has %s, which is what backends is for. Leave it out of options." % option)
    if known is None:
        warn(
            "Whether Airflow %s knows %s was not checked: it is not installed here."
            % (host.version, ", ".join(options))
        )
    else:
        for option in options:
            if option not in known.options.get(section, ()):
                raise AirflowError(
                    "Airflow %s has no option %s in [%s].%s"
                    % (host.version, option, section, _meant(option, known.options.get(section, set())))
                )
    return [setting_of(section, str(option), value, known) for option, value in options.items()]


def all_options(
    host: Host, known: KnownOptions | None, sections: Mapping[str, Any], warn: Callable[[str], None]
) -> list[Setting]:
    """Options of any sections. Those that the release does not know in a section of its own are warned of.

    :param known: what options_known_to gave.
    :param sections: section -> option -> value; None for an option that shall not be in the file.
    :raises AirflowError: if a value is none that an option can have.
    """
    settings = []
    for section, options in sections.items():
        if not isinstance(options, Mapping) or not options:
            # The value is not quoted: it may be a secret whose section was forgotten.
            raise AirflowError(
                "settings of section %s: %s, not options with values. Nothing was changed. Write {SECTION: {OPTION: "
                "VALUE}}." % (section, "nothing" if not options else "a %s" % type(options).__name__)
            )
        for option, value in options.items():
            names = known.options.get(section) if known else None
            if names is not None and option not in names and value is not None:
                present = known.present(section, option) if known else None
                meant = " Its name is [%s] %s now." % present if present else _meant(option, names)
                warn("Airflow %s describes no option %s in [%s].%s" % (host.version, option, section, meant))
            settings.append(setting_of(section, str(option), value, known))
    return settings


def options_known_to(host: Host) -> KnownOptions | None:
    """What the installed release describes. None where it is not installed."""
    folder = host.packages
    return read_known_options(folder) if folder else None


def setting_of(section: str, option: str, value: Any, known: KnownOptions | None) -> Setting:
    """:raises AirflowError: if the value is none that an option can have."""
    if isinstance(value, (dict, list)):
        raise AirflowError(
            "The value of [%s] %s is a %s. Airflow's options are text: write it as it shall stand in the file."
            % (section, option, "list" if isinstance(value, list) else "dictionary")
        )
    secret = is_secret_name(option) or bool(known and (section, option) in known.sensitive)
    former = known.former_of(section, option) if known else ()
    return Setting(section, option, None if value is None else str(value).strip(), secret=secret, former=former)


def _meant(option: str, names: set[str]) -> str:
    import difflib

    close = difflib.get_close_matches(option, sorted(names), n=1)
    return " Is %s meant?" % close[0] if close else " It has: %s." % ", ".join(sorted(names))
