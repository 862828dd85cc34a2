"""From the environment and a file to the settings of one queue."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from jobq.errors import ConfigError
from jobq.model.options import JobOptions, Limits, with_overrides
from jobq.settings.files import find_file, read_file
from jobq.settings.records import Layer
from jobq.settings.variables import CONFIG, QUEUE, read_variables


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
    """The settings that hold: an explicit url, then JOBQ_ variables, then the file.

    folder: where the search for a file begins. url: goes before all. queue: which queue of the file; None: JOBQ_QUEUE,
    then that at its top. config: the file; None: JOBQ_CONFIG, then `jobq.toml` or `[tool.jobq]` in `pyproject.toml`, in
    the folder or the nearest one above that has one.
    Raises ConfigError.
    """
    named = config or (Path(environment[CONFIG]) if environment.get(CONFIG) else None)
    file = (folder / named) if named else find_file(folder)
    wanted = queue or environment.get(QUEUE) or None
    if wanted and file is None:
        raise ConfigError(f"no file names the queue {wanted!r}: write jobq.toml with [queues.{wanted}] and its url")
    lower = _from_its_folder(read_file(file, wanted), file.parent) if file else Layer()
    upper = read_variables(environment)
    if url or "url" in upper.storage:
        # Parameters belong to the URL beside which they stand: sync=off of the file is not meant for another storage.
        lower = replace(lower, storage={})
    if url:
        upper = replace(upper, storage={key: value for key, value in upper.storage.items() if key != "url"})
    return _settings(upper.over(lower), url, file)


def _settings(layer: Layer, url: str | None, file: Path | None) -> Settings:
    base = url or layer.storage.get("url")
    parameters = {key: layer.storage[key] for key in ("sync", "max_size") if key in layer.storage}
    try:
        defaults = JobOptions(**layer.options)
        topics = {topic: with_overrides(defaults, options) for topic, options in layer.topics.items()}
        limits = Limits(**layer.limits) if layer.limits else None
    except (TypeError, ValueError) as problem:
        raise ConfigError(f"{file or 'the environment'}: {problem}") from problem
    return Settings(
        url=base and _with_parameters(base, parameters),
        defaults=defaults if layer.options else None,
        topic_defaults=topics,
        limits=limits,
        worker=layer.worker,
        file=file,
    )


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


def _with_parameters(url: str, parameters: Mapping[str, Any]) -> str:
    """The URL with parameters that it does not have itself; one in memory has neither sync nor a size."""
    if not url.startswith("lmdb:"):
        return url
    given = {part.partition("=")[0] for part in url.partition("?")[2].split("&")}
    added = "&".join(f"{key}={quote(str(value))}" for key, value in parameters.items() if key not in given)
    return url + ("&" if "?" in url else "?") * bool(added) + added
