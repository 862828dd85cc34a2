"""Settings in environment variables: `JOBQ_URL`, `JOBQ_SYNC`, `JOBQ_OPTIONS_MAX_RETRIES`, `JOBQ_WORKER_CONCURRENCY`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any

from jobq.errors import ConfigError
from jobq.settings.keys import SECTIONS, STORAGE, Reader, read_value
from jobq.settings.records import Layer

PREFIX = "JOBQ_"
QUEUE = "JOBQ_QUEUE"
CONFIG = "JOBQ_CONFIG"
OF_A_JOB = "JOBQ_JOB_"
"""What a program that runs for a job finds in its environment begins so, and is no setting."""
OF_KUBERNETES = ("JOBQ_SERVICE_", "JOBQ_PORT")
"""What Kubernetes gives each pod beside a Service that is named jobq begins so."""

READERS: Mapping[str, tuple[str, str, Reader]] = {
    **{PREFIX + key.upper(): ("storage", key, reader) for key, reader in STORAGE.items()},
    **{
        f"{PREFIX}{section}_{key}".upper(): (section, key, reader)
        for section, readers in SECTIONS.items()
        for key, reader in readers.items()
    },
}


def check_names(names: Iterable[str], where: str) -> None:
    """Raises ConfigError for a name that begins with JOBQ_ and is none of a setting's."""
    for name in names:
        if name.startswith(PREFIX) and not name.startswith((OF_A_JOB, *OF_KUBERNETES)):
            _check(name, where)


def _check(name: str, where: str) -> None:
    known = {one.removeprefix(PREFIX): one for one in (QUEUE, CONFIG, *READERS)}
    if name.removeprefix(PREFIX) not in known:
        near = get_close_matches(name.removeprefix(PREFIX), known, 1)  # without what all have in common
        hint = f" (did you mean {known[near[0]]!r}?)" if near else ""
        raise ConfigError(f"{where}: unknown key {name!r}{hint}: names that begin with {PREFIX} are settings alone")


def read_variables(environment: Mapping[str, str]) -> Layer:
    """The settings of an environment; a variable that is empty counts as not set.

    Raises ConfigError for a variable that begins with JOBQ_ and is not known, or whose value is not allowed.
    """
    sections: dict[str, dict[str, Any]] = {"storage": {}, "options": {}, "limits": {}, "worker": {}}
    check_names(environment, "environment")
    for name, value in environment.items():
        if name in READERS and value:
            section, key, reader = READERS[name]
            sections[section][key] = read_value(value, reader, name)
    return Layer(**sections)
