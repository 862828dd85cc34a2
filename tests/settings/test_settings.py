"""Which settings hold: an explicit URL, then the environment, then the file."""

from __future__ import annotations

from pathlib import Path

import pytest

import jobq
from jobq import ConfigError, JobOptions, Limits
from jobq.settings import Settings, read_settings

FILE = """
url = "lmdb:jobs"
sync = "normal"
max_size = 1000000

[options]
lease = "10m"
max_retries = 3
keep_dead = "forever"

[topics.mail]
max_retries = "forever"
min_backoff = 1.5

[limits]
payload = 100

[worker]
topics = ["mail", "web"]
concurrency = 4

[queues.reports]
url = "memory://reports"
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "jobq.toml").write_text(FILE)
    return tmp_path


def test_a_file_sets_storage_options_topics_limits_and_worker(folder: Path) -> None:
    assert read_settings({}, folder) == Settings(
        url=f"lmdb://{folder}/jobs?sync=normal&max_size=1000000",
        defaults=JobOptions(lease=600, max_retries=3, keep_dead=None),
        topic_defaults={"mail": JobOptions(lease=600, max_retries=None, keep_dead=None, min_backoff=1.5)},
        limits=Limits(payload=100),
        worker={"topics": ("mail", "web"), "concurrency": 4},
        file=folder / "jobq.toml",
    )


def test_the_nearest_file_upward_is_read(folder: Path) -> None:
    inner = folder / "a" / "b"
    inner.mkdir(parents=True)
    (folder / "a" / "pyproject.toml").write_text("[tool.other]\nx = 'jobq'\n")
    assert read_settings({}, inner).file == folder / "jobq.toml"
    (folder / "a" / "pyproject.toml").write_text("[tool.jobq]\nurl = 'memory://project'\n")
    assert read_settings({}, inner).url == "memory://project"


def test_a_file_names_several_queues(folder: Path) -> None:
    assert read_settings({}, folder, queue="reports").url == "memory://reports"
    assert read_settings({"JOBQ_QUEUE": "reports"}, folder).url == "memory://reports"
    with pytest.raises(ConfigError, match="has no queue 'report': it has reports"):
        read_settings({}, folder, queue="report")


def test_the_environment_goes_before_the_file(folder: Path) -> None:
    found = read_settings(
        {
            "JOBQ_URL": "lmdb:/elsewhere",
            "JOBQ_SYNC": "off",
            "JOBQ_OPTIONS_MAX_RETRIES": "7",
            "JOBQ_WORKER_TOPICS": "a, b",
            "JOBQ_JOB_ID": "9",
            "JOBQ_SERVICE_HOST": "10.0.0.1",
            "JOBQ_PORT_9464_TCP": "tcp://10.0.0.1:9464",
            "JOBQ_LIMITS_DEPTH": "",
        },
        folder,
    )
    assert found.url == "lmdb:/elsewhere?sync=off"
    assert found.defaults == JobOptions(lease=600, max_retries=7, keep_dead=None)
    assert found.topic_defaults["mail"].max_retries is None
    assert found.worker == {"topics": ("a", "b"), "concurrency": 4}


def test_an_explicit_url_goes_before_all_with_its_own_parameters(folder: Path) -> None:
    assert read_settings({"JOBQ_URL": "memory://"}, folder, url="lmdb:x").url == "lmdb:x"
    assert read_settings({"JOBQ_SYNC": "off"}, folder, url="lmdb:x?sync=full").url == "lmdb:x?sync=full"
    assert read_settings({"JOBQ_SYNC": "off"}, folder, url="lmdb:x?max_size=9").url == "lmdb:x?max_size=9&sync=off"


def test_a_parameter_belongs_to_the_url_beside_which_it_stands(tmp_path: Path) -> None:
    (tmp_path / "jobq.toml").write_text("url = 'lmdb:/jobs?sync=full'\nmax_size = 9\n")
    assert read_settings({"JOBQ_SYNC": "off"}, tmp_path).url == "lmdb:/jobs?max_size=9&sync=off"
    of_environment = {"JOBQ_URL": "lmdb:y", "JOBQ_SYNC": "off"}
    assert read_settings(of_environment, tmp_path).url == "lmdb:y?sync=off"
    assert read_settings(of_environment, tmp_path, url="lmdb:x").url == "lmdb:x"
    assert read_settings({**of_environment, "JOBQ_URL": "lmdb:y?sync=full"}, tmp_path).url == "lmdb:y?sync=full"


def test_a_queue_that_is_asked_for_goes_before_the_url_of_the_environment(tmp_path: Path) -> None:
    (tmp_path / "jobq.toml").write_text("[queues.reports]\nurl = 'lmdb:/reports'\n[queues.bare]\n")
    environment = {"JOBQ_URL": "lmdb:other", "JOBQ_SYNC": "off"}
    assert read_settings(environment, tmp_path, queue="reports").url == "lmdb:/reports"
    assert read_settings(environment, tmp_path, queue="bare").url == "lmdb:other?sync=off"
    assert read_settings(environment, tmp_path, queue="reports", url="lmdb:x").url == "lmdb:x"
    assert read_settings({**environment, "JOBQ_QUEUE": "reports"}, tmp_path).url == "lmdb:other?sync=off"
    assert read_settings({"JOBQ_SYNC": "off"}, tmp_path, queue="reports").url == "lmdb:/reports?sync=off"


def test_a_queue_that_is_asked_for_must_have_a_url(tmp_path: Path) -> None:
    (tmp_path / "jobq.toml").write_text("url = 'lmdb:jobs'\n[queues.bare]\n")
    with pytest.raises(ConfigError, match=r"jobq.toml: queues.bare has no url: write one, as url = \"lmdb:bare\""):
        read_settings({}, tmp_path, queue="bare")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[tool.other]\njobq = 3", r"pyproject.toml has no table \[tool.jobq\]"),
        ("[tool]\njobq = 3", r"pyproject.toml: tool.jobq must be a table"),
        ("tool = 'jobq'", r"pyproject.toml: tool must be a table"),
    ],
)
def test_a_project_file_that_is_named_must_have_the_table(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "pyproject.toml").write_text(text)
    with pytest.raises(ConfigError, match=message):
        read_settings({}, tmp_path, config=Path("pyproject.toml"))


def test_a_project_file_of_others_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("tool = 'jobq'")
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "pyproject.toml").write_text("[tool.other]\njobq = 3")
    assert read_settings({}, tmp_path / "a", url="memory://").file is None


def test_memory_has_no_parameters(tmp_path: Path) -> None:
    assert read_settings({"JOBQ_URL": "memory://", "JOBQ_SYNC": "off"}, tmp_path).url == "memory://"


def test_nothing_set_is_no_url(tmp_path: Path) -> None:
    (tmp_path / "jobq.toml").write_text("")
    assert read_settings({}, tmp_path) == Settings(None, None, {}, None, {}, tmp_path / "jobq.toml")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("urll = 'x'", r"unknown key 'urll' \(did you mean 'url'\?\)"),
        ("[option]", r"unknown key 'option' \(did you mean 'options'\?\)"),
        ("[options]\nmax_retry = 3", r"options: unknown key 'max_retry' \(did you mean 'max_retries'\?\)"),
        ("[topics.mail]\nleese = 3", r"topics.mail: unknown key 'leese' \(did you mean 'lease'\?\)"),
        ("[options]\nlease = 'soon'", "options: lease = 'soon': 'soon' is no duration"),
        ("[options]\nlease = true", "options: lease = True: must be a duration"),
        ("[options]\nlease = 0", "lease must be above 0"),
        ("[options]\nlease = 0", "options: lease must be above 0"),
        ("[topics.mail]\nlease = 0", "topics.mail: lease must be above 0"),
        ("[topics.'a b']\nlease = 1", "topics: topic 'a b' is not allowed"),
        ("[limits]\nbatch = 0", "limits: batch must be"),
        ("[options]\njitter = 'some'", "options: jitter = 'some': must be a number"),
        ("max_retries = 3", r"unknown key 'max_retries' \(did you mean 'options.max_retries'\?\)"),
        ("[worker]\nmax_retry = 3", r"worker: unknown key 'max_retry' \(did you mean 'options.max_retries'\?\)"),
        ("[options]\nsynk = 'off'", r"options: unknown key 'synk' \(did you mean 'sync'\?\)"),
        ("sync = 'fast'", "sync = 'fast': must be one of full, normal, off"),
        ("[worker]\nexecutor = 'fiber'", "worker: executor = 'fiber': must be one of thread, process"),
        ("[limits]\nbatch = 'many'", "limits: batch = 'many': must be a whole number"),
        ("[worker]\ntopics = []", r"worker: topics = \[\]: must be a list of names"),
        ("url = 3", "url = 3: must be text"),
        ("topics = 3", "topics must be a table of tables"),
        ("queues = 3", "queues must be a table of tables"),
        ("options = 3", "options must be a table"),
        ("url = ", "is no TOML"),
    ],
)
def test_what_is_wrong_in_a_file_is_said(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "jobq.toml").write_text(text)
    with pytest.raises(ConfigError, match=message):
        read_settings({}, tmp_path)


def test_an_unknown_variable_names_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"unknown key 'JOBQ_ULR' \(did you mean 'JOBQ_URL'\?\)"):
        read_settings({"JOBQ_ULR": "memory://"}, tmp_path)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("JOBQ_QUEU", "x", r"unknown key 'JOBQ_QUEU' \(did you mean 'JOBQ_QUEUE'\?\)"),
        ("JOBQ_CONFIGS", "x", r"unknown key 'JOBQ_CONFIGS' \(did you mean 'JOBQ_CONFIG'\?\)"),
        ("JOBQ_MAX_RETRIES", "3", r"did you mean 'JOBQ_OPTIONS_MAX_RETRIES'\?"),
        ("JOBQ_OPTIONS_JITTER", "some", "JOBQ_OPTIONS_JITTER = 'some': must be a number"),
        ("JOBQ_OPTIONS_MAX_RETRIES", "-3", "max_retries must be"),
        ("JOBQ_OPTIONS_MAX_RETRIES", "2.5", "JOBQ_OPTIONS_MAX_RETRIES = '2.5': must be a whole number"),
        ("JOBQ_OPTIONS_LOG_STATUS_CHANGE", "on", "must be true or false"),
    ],
)
def test_what_is_wrong_in_a_variable_is_said(tmp_path: Path, name: str, value: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read_settings({name: value}, tmp_path)


def test_a_folder_is_no_file_of_settings(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        read_settings({}, tmp_path, config=tmp_path)


def test_a_file_that_is_named_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere.toml cannot be read: No such file"):
        read_settings({"JOBQ_CONFIG": "nowhere.toml"}, tmp_path)


def test_open_without_a_url_reads_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JOBQ_URL", "memory://of-environment")
    with jobq.open() as svc:
        assert "of-environment" in repr(svc)
    monkeypatch.setenv("JOBQ_URL", "")
    with pytest.raises(ConfigError, match="set it, as JOBQ_URL=lmdb:jobs"):
        jobq.open()


def test_a_file_may_begin_with_the_mark_of_some_editors(tmp_path: Path) -> None:
    (tmp_path / "jobq.toml").write_bytes(b'\xef\xbb\xbfurl = "lmdb:jobs"\n')
    assert read_settings({}, tmp_path).url == f"lmdb://{tmp_path}/jobs"
