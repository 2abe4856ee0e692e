"""Progress by a clock of our own: the numbers, how often they are shown, and the file."""

import json
import os
import time
from contextlib import suppress
from functools import partial

import pytest

from tasks.sampling.progress import Progress, Snapshot, describe, file_name, time_left


class Clock:
    """A time that passes when it is set."""

    now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def open_progress(tmp_path, clock):
    return partial(Progress, folder=tmp_path / "progress", clock=clock)


@pytest.fixture
def snapshot(tmp_path):
    def read(name="band"):
        return Snapshot(**json.loads((tmp_path / "progress" / file_name(name)).read_text()))

    return read


def run(progress, clock, seconds, speed, left=1000, tokens=0, known=0, each=50):
    """So many seconds of `speed` responses a second of `each` tokens, reported ten times a second."""
    for _ in range(seconds * 10):
        clock.now += 0.1
        known, tokens, left = known + speed / 10, tokens + speed * each / 10, left - speed / 10
        progress.update(int(known / 10), int(known), int(tokens), 70, int(left))
    return {"left": left, "tokens": tokens, "known": known}


def test_speed_is_that_of_the_last_half_minute_and_the_rest_is_a_bound_at_that_speed(open_progress, clock, snapshot):
    progress = open_progress("band", 200)
    progress.start(known=40, decided=3)
    clock.now += 60  # The engine starts: no part of the speed.
    so_far = run(progress, clock, 60, 10, left=3000, known=40)
    assert snapshot().tokens_per_second == pytest.approx(500, rel=0.05)
    assert snapshot().eta_seconds == pytest.approx(2400 / 10, rel=0.05)
    so_far = run(progress, clock, 40, 20, **so_far)
    assert snapshot().tokens_per_second == pytest.approx(1000, rel=0.05)
    assert snapshot().eta_seconds == pytest.approx(1600 / 20, rel=0.05)
    assert snapshot().responses == pytest.approx(1440, abs=20)
    assert (snapshot().state, snapshot().responses_from_ledger, snapshot().tokens_saved) == ("running", 40, 70)
    assert snapshot().pid == os.getpid()


def test_responses_that_take_minutes_have_a_speed_all_the_same(open_progress, clock, snapshot):
    progress = open_progress("band", 2)
    progress.start(0, 0)
    for known in range(1, 4):
        progress.update(0, known - 1, (known - 1) * 30_000, 0, 10 - known)
        clock.now += 300
    assert snapshot().eta_seconds is None or snapshot().eta_seconds > 0
    progress.update(0, 3, 90_000, 0, 6)
    assert snapshot().tokens_per_second == pytest.approx(100)
    assert snapshot().eta_seconds == pytest.approx(6 * 300)
    clock.now += 100
    progress.update(0, 3, 90_000, 0, 6)
    assert 50 < snapshot().tokens_per_second < 100


def test_before_anything_comes_the_time_left_is_unknown(open_progress, clock, snapshot):
    progress = open_progress("band", 10)
    progress.start(0, 0)
    assert (snapshot().state, snapshot().eta_seconds, snapshot().responses_left_at_most) == ("starting", None, None)
    clock.now += 2
    progress.update(0, 0, 0, 0, 320)
    assert (snapshot().state, snapshot().eta_seconds, snapshot().tokens_per_second) == ("running", None, 0)


def test_a_log_gets_a_line_after_five_seconds_then_every_thirty_and_one_at_the_end(open_progress, clock, capsys):
    with open_progress("band", 200) as progress:
        progress.start(0, 0)
        clock.now += 90  # The engine starts.
        run(progress, clock, 4, 10)
        assert capsys.readouterr().err == ""
        run(progress, clock, 2, 10)
        assert len(capsys.readouterr().err.splitlines()) == 1
        run(progress, clock, 60, 10, left=5000)
        first, second = capsys.readouterr().err.splitlines()
        assert first != second
        assert "tokens/s, 70 tokens saved, at most" in second
    (last,) = capsys.readouterr().err.splitlines()
    assert last.endswith("done")
    # 60 s of 500 tokens a second counted from none; the start of the engine does not lower the speed.
    assert "455 tokens/s" in last


def test_the_file_is_written_at_most_once_a_second(open_progress, clock, snapshot):
    progress = open_progress("band", 200)
    progress.start(0, 0)
    before = snapshot()
    clock.now += 0.9
    progress.update(1, 10, 500, 0, 90)
    assert snapshot() == before
    clock.now += 0.2
    progress.update(2, 20, 900, 0, 80)
    assert (snapshot().decided, snapshot().updated) == (2, pytest.approx(before.started + 1.1))


@pytest.mark.parametrize(
    ("raised", "outcome"),
    [(None, "done"), (SystemExit, "stopped"), (KeyboardInterrupt, "stopped"), (OSError, "failed")],
)
def test_how_it_ended_is_in_the_file(open_progress, snapshot, raised, outcome):
    with suppress(SystemExit, KeyboardInterrupt, OSError), open_progress("reason (careful)", 5) as progress:
        progress.start(10, 2)
        if raised:
            raise raised
    progress.close("failed")
    assert (snapshot("reason (careful)").state, snapshot("reason (careful)").decided) == (outcome, 2)


def test_file_names_are_plain():
    assert file_name("reason (careful)") == "reason-careful.json"
    assert file_name("answer (my/../model v2)") == "answer-my-..-model-v2.json"


def test_a_folder_that_cannot_be_written_stops_nothing(tmp_path, clock):
    (tmp_path / "file").write_text("")
    with Progress("band", 5, tmp_path / "file" / "folder", clock) as progress:
        progress.start(0, 0)
        progress.update(1, 1, 1, 1, 1)


def test_an_update_is_cheap(tmp_path):
    progress = Progress("band", 100_000, tmp_path)
    progress.start(0, 0)
    started = time.perf_counter()
    for number in range(20_000):
        progress.update(number, number, number, 0, 100_000)
    assert time.perf_counter() - started < 2


def test_in_words():
    state = Snapshot("band", "running", 300, 120, 3900, 1000, 9, 5310.4, 400_000, 99, 130.0, 0.0, 0.0, 1)
    assert describe(state) == (
        "band: 120 of 300 questions decided, 3,900 responses (1,000 from the ledger), 5,310 tokens/s, "
        "400,000 tokens saved, at most 3 min left"
    )
    lefts = [time_left(seconds) for seconds in (0.4, 60, 91, 5401, 300_000)]
    assert lefts == [f"at most {left} left" for left in ("1 s", "60 s", "2 min", "2 h", "4 days")]


def test_what_a_run_did_is_in_the_file_once_it_is_done(open_progress, snapshot):
    with open_progress("band", 5) as progress:
        progress.start(5, 5)
        assert snapshot().run is None
        progress.finish({"responses_generated": 0, "engine": None})
    assert snapshot().run == {"responses_generated": 0, "engine": None}
