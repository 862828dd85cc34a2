"""docs/settings.md says what holds: its file is read as it says, and no key and no variable is left out."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from jobq import JobOptions, Limits
from jobq.settings import Settings, read_settings
from jobq.settings.keys import OPTIONS, SECTIONS, STORAGE
from jobq.settings.variables import CONFIG, QUEUE, READERS

TEXT = (Path(__file__).parents[2] / "docs" / "settings.md").read_text()
BLOCKS = re.findall(r"^```toml\n(.*?)^```", TEXT, re.DOTALL | re.MULTILINE)


def section(title: str) -> str:
    return TEXT.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "jobq.toml").write_text(BLOCKS[0])
    return tmp_path


def test_the_whole_file_is_read_as_its_comments_say(folder: Path) -> None:
    options = JobOptions(
        lease=600,
        max_retries=5,
        min_backoff=2,
        max_backoff=3600,
        jitter=0.1,
        keep_done=86_400,
        keep_canceled=86_400,
        keep_dead=None,
        log_status_change=False,
    )
    found = read_settings({}, folder)
    assert found == Settings(
        url=f"lmdb://{folder}/jobs?sync=normal&max_size=1000000000",
        defaults=options,
        topic_defaults={"mail": found.topic_defaults["mail"]},
        limits=Limits(payload=1_048_576, batch=10_000, batch_bytes=67_108_864, depth=100_000, done=10_000),
        worker={
            "app": "shop.jobs:tasks",
            "topics": ("urgent", "mail"),
            "concurrency": 8,
            "executor": "thread",
            "lease": 30,
            "grace": 20,
        },
        file=folder / "jobq.toml",
    )
    mail = found.topic_defaults["mail"]
    assert (mail.lease, mail.max_retries, mail.keep_done) == (30, None, 86_400)


def test_another_queue_of_the_whole_file_takes_nothing_from_the_top(folder: Path) -> None:
    assert read_settings({}, folder, queue="reports") == Settings(
        url=f"lmdb://{folder}/reports",
        defaults=JobOptions(max_retries=0),
        topic_defaults={},
        limits=None,
        worker={},
        file=folder / "jobq.toml",
    )


def test_the_whole_file_has_every_key() -> None:
    table = tomllib.loads(BLOCKS[0])
    assert table.keys() == {*STORAGE, *SECTIONS, "topics", "queues"}
    assert {name: set(table[name]) for name in SECTIONS} == {name: set(keys) for name, keys in SECTIONS.items()}


def test_the_file_of_a_project_is_read(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(BLOCKS[1])
    assert read_settings({}, tmp_path).url == f"lmdb://{tmp_path}/jobs"
    assert read_settings({}, tmp_path).topic_defaults["mail"].lease == 30
    assert read_settings({}, tmp_path, queue="reports").url == f"lmdb://{tmp_path}/reports"


@pytest.mark.parametrize("block", BLOCKS[2:])
def test_one_line_is_another_storage(tmp_path: Path, block: str) -> None:
    whole, lines = BLOCKS[0], block.splitlines()
    assert len(lines) == 1
    (tmp_path / "jobq.toml").write_text("\n".join([*lines, *whole.splitlines()[1:]]))
    written = tomllib.loads(block)["url"].replace("lmdb:", f"lmdb://{tmp_path}/")
    found = read_settings({}, tmp_path)
    assert found.url is not None
    assert found.url.startswith(written)
    assert found.limits == Limits(depth=100_000, done=10_000)


def test_every_key_is_in_the_table() -> None:
    rows = re.findall(r"^\| `([a-z_.]+)` \|", section("All keys"), re.MULTILINE)
    keys = [*STORAGE, *(f"{name}.{key}" for name, keys in SECTIONS.items() for key in keys)]
    assert sorted(rows) == sorted(keys)


def test_what_a_key_is_if_left_out_is_right() -> None:
    rows = dict(re.findall(r"^\| `((?:options|limits)\.[a-z_]+)` \|.*\| (.*) \|$", section("All keys"), re.MULTILINE))
    words = {"no bound": None, "`forever`": None, "`false`": False}
    said = {key: words[value] if value in words else float(value) for key, value in rows.items()}
    options = {f"options.{name}": getattr(JobOptions(), name) for name in OPTIONS}
    assert said == options | {f"limits.{name}": getattr(Limits(), name) for name in SECTIONS["limits"]}


def test_every_variable_is_in_the_table() -> None:
    rows = "\n".join(line for line in section("All variables").splitlines() if line.startswith("| `"))
    assert sorted(re.findall(r"`(JOBQ_[A-Z_]+)`", rows)) == sorted((QUEUE, CONFIG, *READERS))
