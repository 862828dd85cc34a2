"""The file `.env`: variables for whoever works in its folder, some of which are settings."""

from __future__ import annotations

from collections.abc import Mapping
from io import StringIO
from pathlib import Path

from jobq.errors import ConfigError
from jobq.settings.variables import PREFIX, check_names


def read_dotfile(path: Path) -> Mapping[str, str]:
    """The variables of the file that begin with JOBQ_; none if there is no such file.

    Lines of others are passed over, whatever they are. Raises ConfigError for a line that names JOBQ_ and cannot be
    read or is no setting, or if the file is no text; OSError if it cannot be opened.
    """
    if not path.is_file():
        return {}
    from dotenv import dotenv_values  # here, as it takes longer to import than most commands need
    from dotenv.parser import parse_stream

    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as problem:
        raise ConfigError(f"{path} is no text in UTF-8: {problem.reason} at byte {problem.start}") from problem
    lines = list(parse_stream(StringIO(text)))
    for line in lines:
        if line.error and PREFIX in line.original.string:  # not shown, as a URL may hold a password
            raise ConfigError(f"{path}, line {line.original.line}: write a setting as {PREFIX}URL=lmdb:jobs")
    right = "".join(line.original.string for line in lines if not line.error)
    found = dotenv_values(stream=StringIO(right))
    check_names(found, str(path))
    return {name: value or "" for name, value in found.items() if name.startswith(PREFIX)}
