"""From the environment and a file to the settings of one queue."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote, unquote

from jobq import inputs
from jobq.errors import ConfigError
from jobq.model.options import JobOptions, Limits, with_overrides
from jobq.settings.files import find_file, read_file
from jobq.settings.records import Layer
from jobq.settings.variables import CONFIG, QUEUE, read_variables

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings of one queue.

    url: of its storage, None if nothing names one. defaults, topic_defaults, limits: as `jobq.open` takes them.
    worker: what is set of app, topics, concurrency, executor, lease and grace (seconds). file: which was read.
    """

    url: str | None
    defaults: JobOptions | None
    topic_defaults: Mapping[str, JobOptions]
    limits: Limits | None
    worker: Mapping[str, Any]
    file: Path | None


def read_settings(
    environment: Mapping[str, str],
    folder: Path,
    *,
    url: str | None = None,
    queue: str | None = None,
    config: Path | None = None,
) -> Settings:
    """The settings that hold: explicit arguments, then JOBQ_ variables, then the file.

    folder: where the search for a file begins. url: goes before all. queue: which queue of the file; its url there goes
    before JOBQ_URL. None: JOBQ_QUEUE, then that at its top. config: the file; None: JOBQ_CONFIG, then `jobq.toml` or
    `[tool.jobq]` in `pyproject.toml`, in the folder or the nearest one above that has one.
    Raises ConfigError.
    """
    named = config or (Path(environment[CONFIG]) if environment.get(CONFIG) else None)
    file = (folder / named) if named else find_file(folder)
    wanted = queue or environment.get(QUEUE) or None
    if wanted and file is None:
        raise ConfigError(f"no file names the queue {wanted!r}: write jobq.toml with [queues.{wanted}] and its url")
    lower = _from_its_folder(read_file(file, wanted), file.parent) if file else Layer()
    upper = read_variables(environment)
    holding = _url(url, upper.storage, lower.storage, file_first=bool(queue))
    if wanted and holding is None:
        raise ConfigError(f'{file}: queues.{wanted} has no url: write one, as url = "lmdb:{wanted}"')
    return _settings(upper, lower, holding, file)


def _settings(upper: Layer, lower: Layer, url: str | None, file: Path | None) -> Settings:
    both = upper.over(lower)

    def built(make: Callable[[], T], what: str) -> T:
        try:
            return make()
        except (TypeError, ValueError) as problem:
            section = what.partition(".")[0]
            sources = [str(file)] * bool(getattr(lower, section)) + ["environment"] * bool(getattr(upper, section))
            raise ConfigError(f"{' and '.join(sources)}: {what}: {problem}") from problem

    defaults = built(lambda: JobOptions(**both.options), "options")
    return Settings(
        url=url,
        defaults=defaults if both.options else None,
        topic_defaults={
            built(partial(inputs.topic, topic), "topics"): built(
                partial(with_overrides, defaults, options), f"topics.{topic}"
            )
            for topic, options in both.topics.items()
        },
        limits=built(lambda: Limits(**both.limits), "limits") if both.limits else None,
        worker=both.worker,
        file=file,
    )


def _url(
    explicit: str | None, of_environment: Mapping[str, Any], of_file: Mapping[str, Any], *, file_first: bool
) -> str | None:
    """The URL that holds, with its parameters. None if there is none.

    A parameter belongs to the URL beside which it stands: sync of the file is not meant for another storage, nor
    JOBQ_SYNC where JOBQ_URL is set. Alone, JOBQ_SYNC goes with whatever URL holds.
    """
    parameters = {key: value for key, value in of_environment.items() if key != "url"}
    loose = {} if "url" in of_environment else parameters
    if explicit:
        return _with_parameters(explicit, loose)
    if "url" in of_environment and not (file_first and "url" in of_file):
        return _with_parameters(of_environment["url"], parameters)
    if "url" in of_file:
        beside = {key: value for key, value in of_file.items() if key != "url"}
        return _with_parameters(of_file["url"], beside, stronger=loose)
    return None


def _from_its_folder(layer: Layer, folder: Path) -> Layer:
    """The layer with a relative path of its URL taken from the folder of the file that names it."""
    if "url" not in layer.storage:
        return layer
    return replace(layer, storage={**layer.storage, "url": absolute_url(layer.storage["url"], folder)})


def absolute_url(url: str, folder: Path) -> str:
    """The URL with a relative path taken from a folder, so that it means the same in any other."""
    location, mark, query = url.removeprefix("lmdb:").partition("?")
    if not url.startswith("lmdb:") or not location or location.startswith(("/", "~")):
        return url
    path = quote(str(folder.absolute() / unquote(location)))
    return f"lmdb://{path}{mark}{query}"


def _with_parameters(url: str, weaker: Mapping[str, Any], stronger: Mapping[str, Any] | None = None) -> str:
    """The URL with parameters; weaker: unless it has them itself. One in memory has neither sync nor a size."""
    if not url.startswith("lmdb:"):
        return url
    base, _, query = url.partition("?")
    parts = [part for part in query.split("&") if part and part.partition("=")[0] not in (stronger or {})]
    names = {part.partition("=")[0] for part in parts}
    more = {key: value for key, value in {**weaker, **(stronger or {})}.items() if key not in names}
    parts += [f"{key}={quote(str(value))}" for key, value in more.items()]
    return f"{base}?{'&'.join(parts)}" if parts else base
