# SPDX-License-Identifier: GPL-3.0-or-later
"""The options of airflow.cfg that a task manages: what it wants of them, what beats them, what of them may be shown."""

from __future__ import annotations

import re
from typing import Callable, Mapping

from ansible_collections.fleetops.airflow.plugins.module_utils._cfg.text import Cfg
from ansible_collections.fleetops.airflow.plugins.module_utils._errors import AirflowError
from ansible_collections.fleetops.airflow.plugins.module_utils._record import Record

HIDDEN = "********"

# Compiled where it is used, as all in the files that a run without a change reads: it may not need it.
_SECRET_NAME = (
    r"(?i)passw|secret|token|credential|(^|_)key$|_conn(_async)?$|_dsn$|_(kw|engine_)args$|basic_auth$|broker_url"
    r"|result_backend"
)


def _equal(one: str, other: str) -> bool:
    return one == other


class Setting(Record):
    """One option as a task wants it in the file.

    :param value: None where the option shall not be in the file.
    :param superseded: other options of the section that mean the same: they are taken out.
    :param former: sections and options whose variables override this option of the file just as its own does: the
        names that it had in earlier versions.
    :param same: whether two values mean the same.
    """

    section: str
    option: str
    value: str | None
    secret: bool = False
    superseded: tuple[str, ...] = ()
    former: tuple[tuple[str, str], ...] = ()
    same: Callable[[str, str], bool] = _equal

    @property
    def name(self) -> str:
        return "[%s] %s" % (self.section, self.option)

    @property
    def variables(self) -> list[str]:
        """The environment variables that override it in the file."""
        return [variable_name(*place) for place in ((self.section, self.option), *self.former)]


class Override(Record):
    """A variable of the server's environment that beats the file. ``value`` None: what a command or a backend says."""

    variable: str
    value: str | None


def edit(cfg: Cfg, settings: list[Setting]) -> Cfg:
    """The file as the settings want it; ``cfg`` itself where it is so already."""
    edits: list[tuple[str, str, str | None]] = []
    for setting in settings:
        own = cfg.own(setting.section, setting.option)
        if own if setting.value is None else not own or not setting.same(own.value, setting.value):
            edits.append((setting.section, setting.option, setting.value))
        edits += [(setting.section, option, None) for option in setting.superseded if cfg.own(setting.section, option)]
    if not edits:
        return cfg
    from ansible_collections.fleetops.airflow.plugins.module_utils._cfg.edit import apply_edits

    return apply_edits(cfg, edits)


def variable_name(section: str, option: str) -> str:
    """The environment variable of an option. Airflow reads it case-sensitively."""
    return "AIRFLOW__%s__%s" % (section.upper().replace(".", "_"), option.upper())


def override(setting: Setting, environment: Mapping[str, str]) -> Override | None:
    """What beats this option of the file in this environment.

    ``_CMD`` and ``_SECRET`` count for the options that Airflow itself holds for secret, and for no others.
    """
    for variable in setting.variables:
        if variable in environment:
            return Override(variable, environment[variable])
        for suffix in ("_CMD", "_SECRET"):
            if setting.secret and variable + suffix in environment:
                return Override(variable + suffix, None)
    return None


def ignored_variables(setting: Setting, environment: Mapping[str, str]) -> list[str]:
    """Variables that look as if they set this option, and that Airflow does not read."""
    if setting.secret:
        return []
    return [
        name + suffix for name in setting.variables for suffix in ("_CMD", "_SECRET") if name + suffix in environment
    ]


def validate_overrides(
    settings: list[Setting], environment: Mapping[str, str], source: str, outcome: str = " Nothing was changed."
) -> None:
    """See that nothing beats the file.

    :param source: whose environment it is.
    :param outcome: what that means for the task, as a sentence.
    :raises AirflowError: if the environment says something else than the file would.
    """
    for setting in settings:
        beats = override(setting, environment)
        if not beats or (beats.value is not None and setting.value and setting.same(beats.value, setting.value)):
            continue
        shown = "" if setting.secret or beats.value is None else "=" + beats.value
        raise AirflowError(
            "%s%s in the environment of %s overrides %s of airflow.cfg: a change there would do nothing.%s "
            "Remove the variable from the server's service, then run this task again."
            % (beats.variable, shown, source, setting.name, outcome),
            overridden_by=beats.variable,
        )


def shown(before: Cfg, after: Cfg, settings: list[Setting]) -> tuple[str, str]:
    """The managed options of both files, for a diff. A secret is only said to be there, or to be another one."""
    texts = []
    for cfg in (before, after):
        sections: dict[str, str] = {}
        for setting in settings:
            lines = sections.setdefault(setting.section, "[%s]\n" % setting.section)
            for option in (setting.option, *setting.superseded):
                own = cfg.own(setting.section, option)
                if own:
                    value = _masked(own.value, before.own(setting.section, option)) if setting.secret else own.value
                    lines += "%s = %s\n" % (option, value.replace("\n", "\n    "))
            sections[setting.section] = lines
        texts.append("".join(sections.values()))
    return texts[0], texts[1]


def is_secret_name(option: str) -> bool:
    """Whether an option's or a variable's name says that its value is nobody's business."""
    return bool(re.search(_SECRET_NAME, option))


def secret_values(cfg: Cfg, environment: Mapping[str, str]) -> list[str]:
    """The values of a file and of an environment that are secret by their names."""
    pairs = [(option.name, option.value) for option in cfg.options()] + list(environment.items())
    return [value for name, value in pairs if is_secret_name(name)]


def is_port(value: str) -> bool:
    return bool(re.match(r"[0-9]{1,5}\Z", value)) and 0 < int(value) < 65536


def is_host(value: str) -> bool:
    """A name, or an address of either kind."""
    if re.match(r"[0-9A-Fa-f:.]*:[0-9A-Fa-f:.%\w]*\Z", value, re.ASCII):
        return True
    return bool(re.match(r"(?!-)[\w-]{1,63}(\.(?!-)[\w-]{1,63})*\.?\Z", value, re.ASCII)) and len(value) < 254


def _masked(value: str, old: object) -> str:
    return HIDDEN if getattr(old, "value", None) == value else HIDDEN + " (new)"
