"""From the NewJob that a user writes to the Request that a transaction takes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from jobq import heading, inputs
from jobq.errors import PayloadTooLarge
from jobq.model.options import JobOptions, Limits, with_overrides
from jobq.model.records import Policy, policy_of
from jobq.model.requests import MoreHeaders, NewJob, Request

_NEW = tuple.__new__


class Defaults:
    """What a service gives to jobs that do not say it themselves.

    Options: its own, and those of single topics. headers: asked for more headers of each job; None if there are none.
    """

    def __init__(
        self,
        defaults: JobOptions | None,
        topic_defaults: Mapping[str, JobOptions] | None,
        headers: MoreHeaders | None = None,
    ) -> None:
        if headers is not None and not callable(headers):
            raise TypeError(
                "headers must be a function that takes a NewJob and returns headers for it, "
                f"not {type(headers).__name__}: those of one job are given to enqueue"
            )
        self.headers = headers
        self._base = _options(defaults, "defaults") if defaults is not None else JobOptions()
        if not isinstance(topic_defaults, Mapping | None):
            raise TypeError(
                f"topic_defaults must be a mapping of topics to JobOptions(…), not {type(topic_defaults).__name__}"
            )
        self._by_topic = {
            inputs.topic(name): _options(options, f"topic_defaults[{name!r}]")
            for name, options in (topic_defaults or {}).items()
        }
        self._policies = {name: policy_of(options) for name, options in {"": self._base, **self._by_topic}.items()}

    def policy(self, name: str, options: JobOptions | None, overrides: Mapping[str, Any]) -> Policy:
        """The policy of a job: `options`, else the topic's, else the service's, with single fields overridden."""
        if options is None and not overrides:
            return self._policies.get(name) or self._policies[""]
        base = self._by_topic.get(name, self._base) if options is None else _options(options, "options")
        return policy_of(with_overrides(base, overrides) if overrides else base)

    def policies(self) -> list[Policy]:
        """Those of jobs that bring no options of their own: the service's, then those of topics."""
        return list(self._policies.values())


def request(job: NewJob, defaults: Defaults, limits: Limits) -> Request:
    """A NewJob, checked."""
    topic = inputs.topic(job.topic)
    delay, run_at = (0, 0) if job.delay is None and job.run_at is None else inputs.when(job.delay, job.run_at)
    options, overrides = job.options, job.overrides
    return _NEW(
        Request,
        (
            topic,
            inputs.priority(job.priority),
            inputs.payload(job.payload, job.json, limits),
            inputs.text(job.name, "name", most=inputs.NAME_BYTES) if job.name != "" else "",
            delay,
            run_at,
            "" if job.unique_key is None else inputs.key(job.unique_key),
            inputs.on_duplicate(job.on_duplicate),
            defaults.policy(topic, options, overrides),
            b"" if job.headers is None and defaults.headers is None else heading.headers(job, defaults.headers),
        ),
    )


def requests(jobs: NewJob | Iterable[NewJob], defaults: Defaults, limits: Limits) -> list[Request]:
    """One NewJob or several, checked, alone and together."""
    if type(jobs) is tuple and not jobs:  # as `then` and `enqueue` are mostly
        return []
    checked = []
    size = 0
    what = "jobs to enqueue must be NewJob(topic, priority, payload, …)"
    for job in (jobs,) if isinstance(jobs, NewJob) else inputs.several(jobs, what):
        if not isinstance(job, NewJob):
            raise TypeError(f"{what}, not {type(job).__name__}")
        one = request(job, defaults, limits)
        size += len(one.payload)
        checked.append(one)
    inputs.check_batch(len(checked), limits)
    if size > limits.batch_bytes:
        raise PayloadTooLarge(
            f"{size} bytes of payloads in one call are more than Limits(batch_bytes={limits.batch_bytes}): "
            "use several calls"
        )
    return checked


def _options(value: JobOptions, what: str) -> JobOptions:
    if not isinstance(value, JobOptions):
        raise TypeError(f"{what} must be JobOptions(…), not {type(value).__name__}")
    return value
