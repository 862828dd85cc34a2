"""Handlers: what is run for a job, by the job's name."""

from __future__ import annotations

import functools
import inspect
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any, NoReturn

from jobq import inputs
from jobq.errors import ConfigError
from jobq.job import Job
from jobq.model.times import Seconds, duration
from jobq.worker.sources import NamedHandler

Function = Callable[[Any], Any]
"""What handles a job: it takes a Job, or an AsyncJob if it is a coroutine function."""


Around = Callable[[Any], AbstractContextManager[Any] | AbstractAsyncContextManager[Any]]
"""What is run around a handler: it takes the job as that does, and gives a context manager."""


@dataclass(frozen=True, slots=True)
class Handler:
    """A function of a job.

    name: of the jobs that it is for; None for all that no other handler is for. time_limit: nanoseconds a job may
    take; None for as long as it likes.
    """

    name: str | None
    function: Function
    time_limit: int | None
    is_async: bool


def _nobody(job: Job) -> NoReturn:
    raise AssertionError("a job that no handler is for is never run")


NOBODY = Handler(None, _nobody, None, is_async=False)
"""Stands for the handler of a job that no handler is for."""


class Handlers:
    """The handlers of a worker."""

    def __init__(self) -> None:
        self._by_name: dict[str, Handler] = {}
        self._default: Handler | None = None

    def __iter__(self) -> Iterator[Handler]:
        yield from list(self._by_name.values())
        if self._default is not None:
            yield self._default

    def get(self, name: str) -> Handler | None:
        """The handler of the jobs of a name."""
        return self._by_name.get(name, self._default)

    def add(self, name: str | None, function: Function, time_limit: Seconds | None) -> None:
        """Register a function. Raises TypeError for what cannot handle a job, ValueError for a name that is taken."""
        _check(function)
        if name is not None:
            inputs.text(name, "name", most=inputs.NAME_BYTES)
        limit = None if time_limit is None else duration(time_limit, "time_limit", above_zero=True)
        handler = Handler(name, function, limit, is_coroutine_function(function))
        if name is None:
            if self._default is not None:
                raise ValueError(f"there is a default handler already: {label(self._default.function)}")
            self._default = handler
        else:
            if name in self._by_name:
                raise ValueError(f"jobs named {name!r} have a handler already: {label(self._by_name[name].function)}")
            self._by_name[name] = handler

    def joined(self, others: Iterable[NamedHandler]) -> Handlers:
        """These and others. Raises ConfigError if two are for the same name."""
        both = Handlers()
        both._by_name = dict(self._by_name)
        both._default = self._default
        try:
            for other in others:
                both.add(other.name, other.handler, other.time_limit)
        except ValueError as problem:
            raise ConfigError(str(problem)) from None
        return both

    def each(self, change: Callable[[Function], Function]) -> Handlers:
        """The same with other functions."""
        changed = Handlers()
        changed._by_name = {name: replace(one, function=change(one.function)) for name, one in self._by_name.items()}
        if self._default is not None:
            changed._default = replace(self._default, function=change(self._default.function))
        return changed

    def are_mixed(self) -> bool:
        """Whether there are coroutines and others."""
        return len({handler.is_async for handler in self}) > 1

    def check(self, *, is_for_processes: bool, around: Around | None = None) -> None:
        """Raise ConfigError if there are none, or if child processes could not import them, or what is around them."""
        if not list(self):
            raise ConfigError(
                "this worker has no handlers: register a function with @worker.handler or @worker.default, "
                "or give it tasks=…"
            )
        if is_for_processes:
            _check_guard()
            for handler in self:
                reference(handler.function)
            if around is not None:
                reference(around, AROUND)

    def why_none(self, name: str) -> str:
        """What is said of a job that nothing handles."""
        known = ", ".join(map(repr, sorted(self._by_name))) or "no name"
        if not name:
            return f"no handler for a job without a name: enqueue it with a name ({known}), or add a @worker.default"
        return f"no handler for jobs named {name!r}: this worker knows {known}"


def is_coroutine_function(function: Callable[..., Any]) -> bool:
    """Whether calling it gives a coroutine; also of an object with such a __call__, and of a partial."""
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(
        getattr(_unwrapped(function), "__call__", None)  # noqa: B004
    )


def label(function: Callable[..., Any]) -> str:
    """What a function is called in messages."""
    inner = _unwrapped(function)
    return f"{getattr(inner, '__module__', '?')}.{getattr(inner, '__qualname__', repr(inner))}"


def default_name(function: Callable[..., Any]) -> str:
    """The name of the jobs that a function is for unless another one is given: its own."""
    name = getattr(_unwrapped(function), "__name__", None)
    if not isinstance(name, str) or name == "<lambda>":
        raise TypeError(f"{function!r} has no name to register it by: use @worker.handler('name')")
    return name


Reference = tuple[str, str]
"""The module of a function, and its name in there."""

_PLACES = "handlers must be functions at the top level of a module, under their own names"
AROUND = "around must be a function at the top level of a module, under its own name"


def reference(function: Callable[..., Any], what_must_be: str = _PLACES) -> Reference:
    """By what a child process finds a function. Raises ConfigError if it cannot, which says what must be."""
    module, path = getattr(function, "__module__", None), getattr(function, "__qualname__", "")
    found: Any = sys.modules.get(module or "")
    for part in path.split("."):
        found = getattr(found, part, None)
    if module is None or found is not function:
        raise ConfigError(
            f"{label(function)} cannot be imported by a child process: with executor='process' {what_must_be}"
        )
    if module == "__main__" and not os.path.isfile(getattr(sys.modules["__main__"], "__file__", None) or ""):
        raise ConfigError(
            f"{label(function)} is not in a file, from which a child process could import it: put it in a module"
        )
    spec = getattr(sys.modules[module], "__spec__", None)
    if module == "__main__" and spec is not None and spec.name.rpartition(".")[2] == "__main__":
        raise ConfigError(
            f"{label(function)} is in a __main__.py, which child processes do not import: put it in another module"
        )
    return module, path


def reference_or_none(function: Callable[..., Any]) -> Reference | None:
    """The same for a function that child processes can do without."""
    try:
        return reference(function)
    except ConfigError:
        return None


def _check_guard() -> None:
    import multiprocessing  # which only workers with child processes need

    if getattr(multiprocessing.current_process(), "_inheriting", False):
        raise ConfigError(
            "this is a child process of the worker, which imports the program's own script for its handlers: "
            "there, worker.run() has to stand under `if __name__ == '__main__':`"
        )


def _unwrapped(function: Callable[..., Any]) -> Callable[..., Any]:
    while isinstance(function, functools.partial):
        function = function.func
    return function


def _check(function: object) -> None:
    if not callable(function):
        raise TypeError(f"a handler must be a function of a job, not {type(function).__name__}")
    inner = _unwrapped(function)
    called = inner if inspect.isroutine(inner) or inspect.isclass(inner) else type(inner).__call__
    if inspect.isgeneratorfunction(called) or inspect.isasyncgenfunction(called):
        raise TypeError(
            f"{label(function)} is a generator, so calling it runs nothing: handlers return, they never yield"
        )
    try:
        inspect.signature(function).bind(None)
    except TypeError as problem:
        raise TypeError(f"{label(function)} cannot be called with a job alone: {problem}") from None
    except ValueError:  # a builtin that does not say what it takes
        return
