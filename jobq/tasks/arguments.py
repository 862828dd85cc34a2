"""The arguments of a function: which it takes, whether the first is the job, and from a call to a payload and back."""

from __future__ import annotations

import inspect
import sys
import types
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, Union, get_args, get_origin

from jobq.job import Job
from jobq.model.options import OptionOverrides
from jobq.outcomes import Outcome, Reject
from jobq.tasks.codec import Codec

JobKind = Literal["", "Job", "AsyncJob"]
"""As what a function takes its job; "" if it takes none."""

_TEXTS: dict[str, JobKind] = {
    f"{prefix}{kind}{suffix}": kind
    for prefix in ("", "jobq.")
    for kind in ("Job", "AsyncJob")
    for suffix in ("", " | None")
}

_OPTIONS = {"delay", "run_at", "priority", "unique_key", "on_duplicate", "topic", "headers", "options"}
_OPTIONS |= OptionOverrides.__annotations__.keys()
"""What Task.options takes, and beginners give to `enqueue`."""


class BadArguments(Reject):
    """The payload of a job is no call of its task: it cannot be read, or does not fit the function."""


class Arguments:
    """What a function takes. job_kind: as what its first parameter takes the job, which is no argument of a call."""

    def __init__(self, name: str, function: Callable[..., Any], codec: Codec) -> None:
        self._name = name
        self._codec = codec
        signature = _signature(function)
        self.job_kind: JobKind = job_kind(function, signature)
        parameters = list(signature.parameters.values())
        others = parameters[1:] if self.job_kind else parameters
        _check_others(name, function, others)
        # Without annotations it is short enough for messages.
        self._signature = inspect.Signature([one.replace(annotation=one.empty) for one in others])
        is_named = bool(self.job_kind) and parameters[0].kind is not inspect.Parameter.POSITIONAL_ONLY
        self._job_name = parameters[0].name if is_named else None

    def __str__(self) -> str:
        return str(self._signature)

    def check(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        """Raise TypeError for arguments that the function does not take."""
        try:
            if self._job_name in kwargs:  # which **kwargs would take, and the function would have it twice
                raise TypeError(f"{self._job_name!r} is the job, and no argument")
            self._signature.bind(*args, **kwargs)
        except TypeError as problem:
            raise TypeError(f"{self._name}{self._signature}: {problem}") from None

    def encoded(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> bytes:
        """A call as the payload of a job. Raises TypeError, and what the codec raises."""
        try:
            self.check(args, kwargs)
        except TypeError as problem:
            raise TypeError(f"{problem}{self._hint(kwargs)}") from None
        try:
            return self._codec.dumps(args, kwargs)
        except (TypeError, ValueError) as problem:
            if type(problem) in (TypeError, ValueError):
                raise type(problem)(f"{self._name}{self._culprit(args, kwargs)}: {problem}") from None
            raise

    def _hint(self, kwargs: Mapping[str, Any]) -> str:
        """What was probably meant by arguments that the function does not take."""
        parameters = self._signature.parameters
        options = [name for name in kwargs if name in _OPTIONS and name not in parameters]
        if options:
            given = ", ".join(f"{name}=…" for name in options)
            return f"; how it is enqueued is said by .options({given}).enqueue(…)"
        if not self.job_kind and next(iter(parameters), None) == "job":
            return "; if 'job' is to be the Job itself, annotate it: job: jobq.Job"
        return ""

    def _culprit(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> str:
        """Which argument it is that the codec cannot write."""
        for name, value in self._signature.bind(*args, **kwargs).arguments.items():
            try:
                self._codec.dumps((value,), {})
            except Exception:
                return f", argument {name!r}"
        return ""

    def decoded(self, payload: bytes) -> tuple[Sequence[Any], Mapping[str, Any]]:
        """The call that a payload stands for. Raises BadArguments."""
        try:
            args, kwargs = self._codec.loads(payload)
        except Outcome:
            raise
        except Exception as problem:
            raise BadArguments(
                f"the arguments of {self._name} cannot be read: {type(problem).__name__}: {problem}"
            ) from problem
        try:
            self.check(args, kwargs)
        except TypeError as problem:
            raise BadArguments(f"the arguments do not fit the task: {problem}") from None
        return args, kwargs


def job_kind(function: Callable[..., Any], signature: inspect.Signature) -> JobKind:
    """As what the first parameter of a function takes the job, by its annotation alone."""
    first = next(iter(signature.parameters.values()), None)
    if first is None or first.kind not in (first.POSITIONAL_ONLY, first.POSITIONAL_OR_KEYWORD):
        return ""
    return _kind_by(first, function)


def _check_others(name: str, function: Callable[..., Any], others: Sequence[inspect.Parameter]) -> None:
    for parameter in others:
        if parameter.default is parameter.empty and (kind := _kind_by(parameter, function)):
            raise TypeError(
                f"{name}: {parameter.name!r} is annotated as {kind}, but only the first positional one can be given "
                "the job"
            )


def _kind_by(parameter: inspect.Parameter, function: Callable[..., Any]) -> JobKind:
    annotation = _resolved(parameter.annotation, getattr(inspect.unwrap(function), "__globals__", {}))
    if isinstance(annotation, str):
        return _TEXTS.get(annotation, "")
    for one in _alternatives(annotation):
        if kind := _kind(one):
            return kind
    return ""


def _resolved(annotation: Any, names: dict[str, Any]) -> Any:
    """What an annotation stands for; its text if that cannot be told, as what it needs is imported for types only."""
    for _ in range(2):  # one in quotes is the text of a text under `from __future__ import annotations`
        annotation = getattr(annotation, "__forward_arg__", annotation)
        if not isinstance(annotation, str):
            break
        try:
            annotation = eval(annotation, names)
        except Exception:
            break
    return annotation


def _signature(function: Callable[..., Any]) -> inspect.Signature:
    try:
        return _inspected(function)
    except ValueError as problem:  # of some that are written in C
        raise TypeError(f"a task must be a function that says what it takes: {problem}") from None


def _inspected(function: Callable[..., Any]) -> inspect.Signature:
    if sys.version_info >= (3, 14):  # annotations are evaluated as they are asked for, and some may not be
        from annotationlib import Format

        return inspect.signature(function, annotation_format=Format.FORWARDREF)
    return inspect.signature(function)


def _alternatives(annotation: Any) -> tuple[Any, ...]:
    is_union = get_origin(annotation) in (Union, types.UnionType)
    return get_args(annotation) if is_union else (annotation,)


def _kind(annotation: Any) -> JobKind:
    if annotation is Job:
        return "Job"
    aio = sys.modules.get("jobq.aio.job")  # whoever names its class has imported it
    return "AsyncJob" if aio is not None and annotation is aio.AsyncJob else ""
