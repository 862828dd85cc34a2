"""What the jobs of a function are called."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from jobq import inputs

_SCRIPTS = ("__main__", "__mp_main__")
"""What the module of the program's script is called in the program, and in its child processes."""


def task_name(function: Callable[..., Any], name: str | None) -> str:
    """The name of a task: the one that was given, else module and qualified name of its function."""
    if name is None:
        if function.__qualname__.endswith("<lambda>"):
            raise TypeError("a lambda has no name by which others would find it: give one, @tasks.task(name='…')")
        name = f"{_module_name(function.__module__)}.{function.__qualname__}"
    elif name == "":
        raise ValueError("the name of a task must not be empty: it is 1 to 255 bytes in UTF-8, or left out")
    return inputs.text(name, "name", most=inputs.NAME_BYTES)


def _module_name(module: str) -> str:
    """By which name other programs import a module, be it the script of this one."""
    if module not in _SCRIPTS:
        return module
    script = sys.modules.get(module)
    spec = getattr(script, "__spec__", None)  # of a script that is run by python -m
    file = Path(getattr(script, "__file__", None) or "")
    if spec is not None and spec.name not in _SCRIPTS:
        return str(spec.name)
    return file.stem if file.is_file() else module
