"""Finding the Worker, or the Tasks, that MODULE:OBJECT names."""

from __future__ import annotations

import importlib
import sys
import traceback
from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path
from types import ModuleType
from typing import Any

import click

from jobq.tasks import Tasks
from jobq.worker import Worker

FORM = "write MODULE:OBJECT, as shop.tasks:tasks for `tasks` in shop/tasks.py"
MOST_NAMES = 5


def load(reference: str) -> Worker | tuple[Tasks, ...]:
    """What is named: a Worker, or Tasks; of a list of them, all.

    The current folder goes before all others in which modules are looked for.
    Raises a usage error if the name has another form, ClickException if there is no such thing.
    """
    module, colon, path = reference.partition(":")
    if not colon or not all(part.isidentifier() for part in (*module.split("."), *path.split("."))):
        raise click.UsageError(f"{reference!r} names nothing that could run: {FORM}.")
    sys.path.insert(0, str(Path.cwd()))
    found = _attribute(_import(module), path)
    several = tuple(found) if isinstance(found, list | tuple) else (found,)
    if isinstance(found, Worker):
        return found
    if several and all(isinstance(one, Tasks) for one in several):
        return several
    raise click.ClickException(_is_neither(reference, module, found))


def _import(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as problem:
        if problem.name is None or not f"{name}.".startswith(f"{problem.name}."):
            raise _failed(name, problem) from problem
        # Not the cause of what is raised: there is nothing in the user's code that a traceback could show.
        raise click.ClickException(_is_nowhere(problem.name)) from None
    except (Exception, SystemExit) as problem:
        raise _failed(name, problem) from problem


def _failed(name: str, problem: BaseException) -> click.ClickException:
    """The error for a module that is there, and does not come to its end."""
    if isinstance(problem, SystemExit):
        return click.ClickException(
            f"{name} ends the program when it is imported: let it do so under `if __name__ == '__main__':` only"
        )
    what = " ".join(traceback.format_exception_only(problem)[-1].split())
    return click.ClickException(f"{name} cannot be imported: {what}{_where(problem)} (--debug shows more)")


def _where(problem: BaseException) -> str:
    """The last line that was run before an error, of the code in the current folder if any of that was."""
    if isinstance(problem, SyntaxError):
        return f", in line {problem.lineno} of {problem.filename}"
    frames = [
        frame
        for frame in traceback.extract_tb(problem.__traceback__)
        if not frame.filename.startswith("<") and frame.filename not in (importlib.__file__, __file__)
    ]
    own = [frame for frame in frames if frame.filename.startswith(f"{Path.cwd()}/")] or frames
    return f", in line {own[-1].lineno} of {own[-1].filename}" if own else ""


def _is_nowhere(name: str) -> str:
    parent, _, last = name.rpartition(".")
    if parent in sys.modules and not hasattr(sys.modules[parent], "__path__"):
        return f"there is no module {name!r}, as {parent} is a file, and no folder: did you mean {parent!r}?"
    folders = list(sys.modules[parent].__path__) if parent else [str(Path.cwd())]
    there = {file.stem for folder in folders for file in Path(folder).glob("*") if file.suffix in ("", ".py")}
    where = f"in {folders[0]}" if parent else f"in {folders[0]}, nor elsewhere in this Python, {sys.executable}"
    return f"there is no module {name!r} {where}{_nearest(last, there)}"


def _attribute(module: ModuleType, path: str) -> Any:
    found: Any = module
    for name in path.split("."):
        if not hasattr(found, name):
            hint = _nearest(name, dir(found)) or _has(found, module.__name__)
            raise click.ClickException(f"{module.__name__} has no {path!r}{hint}")
        found = getattr(found, name)
    return found


def _is_neither(reference: str, module: str, found: object) -> str:
    return f"{reference} is neither a jobq.Worker nor jobq.Tasks, but {_kind(found)}{_has(sys.modules[module], module)}"


def _kind(found: object) -> str:
    name = type(found).__name__
    return f"{'an' if name[0].lower() in 'aeiou' else 'a'} {name}" if found is not None else "None"


def _nearest(name: str, there: Iterable[str]) -> str:
    near = get_close_matches(name, sorted(there), 1)
    return f": did you mean {near[0]!r}?" if near else ""


def _has(owner: object, called: str) -> str:
    there = [name for name, value in getattr(owner, "__dict__", {}).items() if isinstance(value, Worker | Tasks)]
    return f": {called} has {', '.join(there[:MOST_NAMES])}" if there else ""
