"""What `jobq watch` makes of its looks: rates, what is shown where there is little room, lines."""

from __future__ import annotations

from datetime import timedelta
from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.text import Text

from jobq import JobService
from jobq.cli.watching.columns import Column, fitted, share, table
from jobq.cli.watching.lines import Changes, objects, tell
from jobq.cli.watching.pace import Pace
from jobq.cli.watching.picture import Picture, busiest, cut, drawn
from jobq.cli.watching.rates import History, Rates, rate, rates
from jobq.cli.watching.sampling import look
from jobq.cli.watching.watcher import Watcher
from jobq.errors import StorageError
from jobq.repos import MemoryStorage
from tests.cli.watched import NOW, sample, stats
from tests.clocks import ManualClock

HOSTILE = "\x1b[2J\x1b[31m\x07日本語 👍🏽 e\u0301 \u202eevil\r\nsecond"


def text(lines: list[Text]) -> str:
    return "\n".join(line.plain.rstrip() for line in lines)


@pytest.fixture
def memory(clock: ManualClock) -> JobService:
    return JobService(MemoryStorage(clock=clock))


# -- rates


def test_rates_are_what_the_totals_rose_by() -> None:
    before = sample(stats(enqueued=10, done=4, retried=1, expired=1, dead=1))
    after = sample(stats(enqueued=20, done=6, retried=2, expired=2, dead=3), after=2)
    assert rates(before, after) == {"mail": Rates(enqueued=5, done=1, failed=2)}


def test_a_topic_that_is_new_or_begun_anew_counts_from_zero() -> None:
    again = stats("gone", enqueued=30, first_enqueued_at=NOW)
    less = stats("less", enqueued=1)
    before = sample(stats("gone", enqueued=20), stats("less", enqueued=2), stats("old"))
    found = rates(before, sample(again, less, stats("new", enqueued=4), after=1))
    assert {name: one.enqueued for name, one in found.items()} == {"gone": 30, "less": 1, "new": 4}


def test_there_are_no_rates_without_time() -> None:
    assert rates(sample(stats()), sample(stats(enqueued=1))) == {}
    assert (History().last(), History().mean()) == ({}, None)


def test_the_mean_is_over_ten_seconds() -> None:
    history = History()
    for second, enqueued in enumerate(accumulate([0, *[100] * 10, *[0] * 10])):
        history.add(sample(stats(enqueued=enqueued), stats("other", enqueued=second), after=second))
        if second == 5:
            assert history.mean() == Rates(101, 0, 0)
    assert history.last() == {"mail": Rates(0, 0, 0), "other": Rates(1, 0, 0)}
    assert history.mean() == Rates(1, 0, 0)


@pytest.mark.parametrize(
    ("value", "said"), [(None, "-"), (0.0, "0"), (0.25, "0.25"), (4.81, "4.8"), (99.9, "99.9"), (1234.5, "1,234")]
)
def test_a_rate_in_few_characters(value: float | None, said: str) -> None:
    assert rate(value) == said


# -- looking


def test_running_jobs_are_read_up_to_a_bound_from_each_topic(memory: JobService, clock: ManualClock) -> None:
    for topic, lease in (("a", 30), ("b", 10)):
        for _ in range(4):
            memory.enqueue(topic)
            memory.reserve(topic, lease=lease)
            clock.advance(1)
    assert [job.id for job in look(memory, (), 8).running] == [1, 2, 3, 4, 5, 6, 7, 8]
    assert [job.id for job in look(memory, (), 4).running] == [1, 2, 5, 6]
    assert [job.id for job in look(memory, ("b",), 2).running] == [5, 6]
    assert (look(memory, (), 0).running, look(memory, (), 1).reserved) == ([], 8)


def test_a_topic_that_was_asked_for_is_looked_at_before_it_is_there(memory: JobService) -> None:
    assert list(look(memory, ("mail", "mail"), 10).topics) == ["mail"]
    assert list(look(memory, (), 10).topics) == []


def test_a_look_that_fails_is_said_and_the_last_picture_stays(clock: ManualClock) -> None:
    class Storage(MemoryStorage):
        problem: Exception | None = None

        def view(self, body):  # type: ignore[no-untyped-def]
            if self.problem:
                raise self.problem
            return super().view(body)

    storage = Storage(clock=clock)
    svc = JobService(storage)
    svc.enqueue("mail")
    watcher = Watcher(svc, (), 2)
    assert watcher.look(10).problem == ""
    storage.problem = StorageError("the disk\nis gone")
    screen = text(drawn(watcher.look(10), 80, 24, NOW))
    assert "the disk is gone (tried again every 2s)" in screen
    assert "mail" in screen
    storage.problem = OSError(5, "no disk")
    assert "no disk" in watcher.look(10).problem
    storage.problem = None
    svc.enqueue("other")
    clock.advance(1)
    assert "the disk" not in (screen := text(drawn(watcher.look(10), 80, 24, NOW)))
    assert "other" in screen


def test_looking_takes_half_of_the_time_at_most() -> None:
    time = [0.0]
    pace = Pace(1, lambda: time[0])
    assert pace.left == 0
    pace.begin()
    time[0] = 0.25
    pace.end()
    assert pace.left == 0.75
    pace.begin()
    time[0] = 3.25
    pace.end()
    assert pace.left == 3


# -- room


@given(st.integers(0, 60), st.lists(st.tuples(st.integers(0, 30), st.integers(0, 9)), max_size=5))
def test_room_is_shared_without_waste(room: int, asked: list[tuple[int, int]]) -> None:
    wants = [want for want, _ in asked]
    given = share(room, wants, [floor for _, floor in asked])
    assert sum(given) == min(room, sum(wants))
    assert all(0 <= lots <= want for lots, want in zip(given, wants, strict=True))


def test_who_wants_little_leaves_room_to_others() -> None:
    assert share(12, [20, 2, 20], [0, 0, 0]) == [5, 2, 5]
    assert share(4, [9, 9], [3, 3]) == [3, 1]


def test_columns_of_the_highest_rank_go_first() -> None:
    columns = (Column("topic", least=4), Column("ready", rank=1, is_right=True), Column("done", rank=2))
    rows = [["a-long-topic", "3", "4"]]
    assert text(table(columns, rows, 30)) == "topic         ready  done\na-long-topic      3  4"
    assert text(table(columns, rows, 17)) == "top…  ready  done\na-l…      3  4"
    assert text(table(columns, rows, 15)) == "topic     ready\na-long-…      3"
    assert text(table(columns, rows, 6)) == "topic\na-lon…"


@given(st.text(), st.integers(0, 40), st.booleans())
def test_text_is_fitted_to_the_cell(words: str, width: int, is_right: bool) -> None:
    from jobq.cli.printing import visible

    assert fitted(Text(visible(words)), width, is_right=is_right).cell_len == width


@pytest.mark.parametrize(
    ("count", "lines", "shown"), [(3, 3, (3, 0)), (14, 3, (2, 12)), (5, 1, (1, 0)), (0, 0, (0, 0))]
)
def test_rows_that_have_no_room_are_counted(count: int, lines: int, shown: tuple[int, int]) -> None:
    assert cut(count, lines) == shown


def test_the_topics_shown_are_those_where_something_goes_on() -> None:
    topics = {
        one.topic: one
        for one in (
            stats("a"),
            stats("b", {"delayed": 1}),
            stats("c", {"ready": 9}),
            stats("d", {"reserved": 1}),
            stats("e"),
        )
    }
    moving = {"e": Rates(0, 1, 0)}
    assert [one.topic for one in busiest(topics, moving, 5)] == ["a", "b", "c", "d", "e"]
    assert [one.topic for one in busiest(topics, moving, 2)] == ["d", "e"]
    assert [one.topic for one in busiest(topics, moving, 3)] == ["c", "d", "e"]
    assert [one.topic for one in busiest(topics, {}, 3)] == ["b", "c", "d"]


# -- the screen


def busy(svc: JobService, clock: ManualClock) -> Picture:
    """A queue with some of everything, and names that would command a terminal."""
    for number in range(30):
        svc.enqueue(f"topic-{number:02}", name=HOSTILE)
    svc.reserve([f"topic-{number:02}" for number in range(20)], n=20, lease=5)
    for number in range(10):
        svc.enqueue("failing", name=HOSTILE, max_retries=None)
        [job] = svc.reserve("failing")
        svc.retry(job, error=HOSTILE) if number % 2 else svc.reject(job, error=HOSTILE * 9)
    svc.pause("topic-00")
    watcher = Watcher(svc, (), 1)
    watcher.look(50)
    clock.advance(3)
    return watcher.look(50)


@pytest.mark.parametrize("width", [1, 2, 7, 19, 40, 59, 80, 100, 250])
@pytest.mark.parametrize("height", [1, 2, 3, 5, 8, 10, 15, 16, 24, 60])
def test_it_fits_any_terminal(memory: JobService, clock: ManualClock, width: int, height: int) -> None:
    lines = drawn(busy(memory, clock), width, height, NOW)
    assert 0 < len(lines) <= height
    assert {line.cell_len for line in lines} == {width}
    assert all(character.isprintable() for line in lines for character in line.plain)


def test_a_large_terminal_shows_everything(memory: JobService, clock: ManualClock) -> None:
    screen = text(drawn(busy(memory, clock), 160, 100, NOW))
    assert "31 topics   ready 10   delayed 5   reserved 20   done 0   dead 5" in screen
    assert "topic-29" in screen
    assert "paused" in screen
    assert "more" not in screen
    assert "again in 27s" in screen
    assert screen.count("again in") == screen.count("  dead  ") - 1 == 5
    assert r"\x1b[2J\x1b[31m\x07日本語 👍🏽 e" + "\u0301" + r" \u202eevil" in screen
    assert "second" not in [line.strip() for line in screen.splitlines()]


def test_a_small_one_shows_some_of_each(memory: JobService, clock: ManualClock) -> None:
    screen = text(drawn(busy(memory, clock), 40, 10, NOW)).splitlines()
    assert len(screen) == 10
    assert screen[0].endswith(f"{NOW.astimezone():%H:%M:%S}")
    assert [line.split()[0] for line in screen[1:] if line[0] not in " …"] == [
        "31", "topic", "topic-00", "running", "failed",
    ]  # fmt: skip
    assert [line for line in screen if line.startswith("…")] == ["… and 30 more", "… and 19 more"]


def test_a_lease_that_ends_soon_stands_out(memory: JobService, clock: ManualClock) -> None:
    for lease in (5, 60, 1):
        memory.enqueue("mail")
        memory.reserve("mail", lease=lease)
    clock.advance(2)
    lines = drawn(Watcher(memory, (), 1).look(10), 80, 24, NOW)
    rows = [line for line in lines if line.plain.split()[1:2] == ["mail"]]
    ends = {line.plain.split()[-1]: str(line.spans[-1].style) if line.spans else "" for line in rows}
    assert ends == {"58s": "", "3s": "yellow", "over": "red"}


def test_an_empty_queue_says_so(memory: JobService) -> None:
    watcher = Watcher(memory, (), 1)
    assert "There is no topic yet" in text(drawn(watcher.look(10), 80, 24, NOW))
    assert "rates need a second look" in text(drawn(watcher.picture, 80, 24, NOW))


def test_topics_come_and_go(memory: JobService, clock: ManualClock) -> None:
    watcher = Watcher(memory, (), 1)
    ids = [memory.enqueue(topic) for topic in ("first", "second")]
    assert "first" in text(drawn(watcher.look(10), 80, 24, NOW))
    clock.advance(1)
    memory.cancel(ids[0])
    memory.delete(ids[0])
    memory.enqueue("third")
    screen = text(drawn(watcher.look(10), 120, 24, NOW))
    assert "first" not in screen
    assert [line.split()[6] for line in screen.splitlines() if line.startswith(("second", "third"))] == ["0", "1.0"]


# -- lines


def test_a_line_for_each_topic_that_changed() -> None:
    changes = Changes()
    time = f"{NOW.astimezone():%H:%M:%S}"
    mail = stats(now={"ready": 3, "canceled": 2}, dead_letters=2, oldest_ready_age=125.0)
    assert list(changes.lines(sample(mail, stats("idle")), {})) == [
        f"{time} mail ready=3 delayed=0 reserved=0 done=0 dead=2 enqueued/s=- done/s=- failed/s=- oldest=2m5s",
        f"{time} idle ready=0 delayed=0 reserved=0 done=0 dead=0 enqueued/s=- done/s=- failed/s=- oldest=-",
    ]
    older = stats(now={"ready": 3, "canceled": 2}, dead_letters=2, oldest_ready_age=126.0)
    assert list(changes.lines(sample(older, stats("idle")), {})) == []
    speeds = {"mail": Rates(5, 4.8, 0)}
    [line] = changes.lines(sample(stats(now={"reserved": 1}, paused=True), stats("idle")), speeds)
    assert line == (
        f"{time} mail ready=0 delayed=0 reserved=1 done=0 dead=0 enqueued/s=5.0 done/s=4.8 failed/s=0 oldest=- paused"
    )
    assert list(changes.lines(sample(stats("idle"), after=1), {})) == [
        f"{(NOW + timedelta(seconds=1)).astimezone():%H:%M:%S} mail gone"
    ]


def test_an_object_for_each_topic() -> None:
    first, second = objects(sample(stats(done=3), stats("b")), {"mail": Rates(1, 2 / 3, 0)})
    assert (first["at"], first["topic"], first["done"], first["done_per_second"]) == (NOW, "mail", 3, 0.667)
    assert (second["topic"], second["enqueued_per_second"]) == ("b", None)


def test_lines_go_on_after_looks_that_failed(capfd: pytest.CaptureFixture[str], clock: ManualClock) -> None:
    gone = StorageError("the disk\nis gone")
    script: list[BaseException | None] = [gone, gone, None, None, gone, None, KeyboardInterrupt()]

    class Queue(JobService):
        def topics(self) -> list[str]:
            problem = script.pop(0)
            if problem:
                raise problem
            return super().topics()

    svc = Queue(MemoryStorage(clock=clock))
    svc.enqueue("mail")
    tell(svc, (), 0.01, as_json=False)
    printed, said = capfd.readouterr()
    assert said == "jobq: the disk is gone (tried again every 0.01s)\n" * 2
    assert [line.split()[1:3] for line in printed.splitlines()] == [["mail", "ready=1"]]
    assert script == []
