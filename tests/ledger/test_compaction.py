"""Compaction: fewer segments, no response lost at any point it may be killed, none of a reader's missed."""

import os
import signal

import polars as pl
import pytest

from tasks.ledger import compaction
from tasks.ledger.compaction import compact, exclusive
from tasks.ledger.ledger import Ledger
from tests.ledger.responses import found, python, respond, segments, write

# Kill this process at the n-th change that compaction makes to the folder.
KILLED = """
import os, signal, sys
from pathlib import Path
from tasks.ledger.compaction import compact
changes = {name: getattr(Path, name) for name in ("rename", "unlink")}
left = int(sys.argv[2])
def dying(name):
    def change(*arguments, **named):
        global left
        left -= 1
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return changes[name](*arguments, **named)
    return change
for name in changes:
    setattr(Path, name, dying(name))
compact(Path(sys.argv[1]) / "m_a")
"""


def test_small_segments_become_one_in_the_order_of_writing(tmp_path):
    write(tmp_path, [respond(index, f"text {index}") for index in range(9)], flush_responses=2)
    assert compact(tmp_path / "m_a") == (5, 1, 0, True)
    rows = pl.read_parquet(segments(tmp_path)[0])
    assert rows["text"].to_list() == [f"text {index}" for index in range(9)]
    assert compact(tmp_path / "m_a") == (1, 1, 0, True)


def test_duplicates_are_dropped_and_the_first_stays(tmp_path):
    write(tmp_path, [respond(0, "first")])
    write(tmp_path, [respond(1)])
    write(tmp_path, [respond(0, "again"), respond(0, "cut", reason="length")])
    assert compact(tmp_path / "m_a").dropped == 1
    assert pl.read_parquet(segments(tmp_path)[0])["text"].to_list() == ["first", "seven", "cut"]
    assert Ledger(tmp_path, "m_a").lookup([respond(0).response_id])[respond(0).response_id].text == "first"


def test_segments_stay_below_the_size_and_neighbours_stay_neighbours(tmp_path):
    write(tmp_path, [respond(index, os.urandom(500).hex()) for index in range(20)], flush_responses=1)
    size = max(path.stat().st_size for path in segments(tmp_path))
    compact(tmp_path / "m_a", segment_bytes=5 * size)
    rows = [pl.read_parquet(path)["sample_index"].to_list() for path in segments(tmp_path)]
    assert len(rows) > 1
    assert [index for part in rows for index in part] == list(range(20))


@pytest.mark.parametrize("changes", range(4))
def test_killed_at_any_point_it_loses_nothing_and_the_next_one_ends_the_work(tmp_path, changes):
    write(tmp_path, [respond(index) for index in range(3)], flush_responses=1)
    process = python(KILLED, tmp_path, changes)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert found(tmp_path, 4) == [0, 1, 2]
    compact(tmp_path / "m_a")
    assert [pl.read_parquet(path).height for path in segments(tmp_path)] == [3]
    assert found(tmp_path, 4) == [0, 1, 2]


def test_a_torn_segment_is_set_aside_and_the_others_merged(tmp_path, capsys):
    write(tmp_path, [respond(index) for index in range(3)], flush_responses=1)
    torn = segments(tmp_path)[1]
    torn.write_bytes(torn.read_bytes()[:-9])
    assert compact(tmp_path / "m_a") == (3, 1, 0, True)
    assert "torn segment set aside" in capsys.readouterr().err
    assert found(tmp_path, 3) == [0, 2]


def test_a_segment_that_cannot_be_read_back_never_replaces_the_old_ones(tmp_path, monkeypatch):
    write(tmp_path, [respond(index) for index in range(3)], flush_responses=1)
    before = segments(tmp_path)
    real = compaction.write_scratch

    def cut_off(*arguments):
        scratch = real(*arguments)
        os.truncate(scratch, scratch.stat().st_size - 9)
        return scratch

    monkeypatch.setattr(compaction, "write_scratch", cut_off)
    with pytest.raises(compaction.LimoError, match="not read back as it was written"):
        compact(tmp_path / "m_a")
    assert segments(tmp_path) == before


def test_two_at_once_the_second_leaves_it_to_the_first(tmp_path):
    write(tmp_path, [respond(index) for index in range(2)], flush_responses=1)
    with exclusive(tmp_path / "m_a"):
        assert compact(tmp_path / "m_a") == (2, 2, 0, False)
    assert compact(tmp_path / "m_a").after == 1


def test_a_reader_in_whose_midst_segments_are_merged_misses_none(tmp_path, monkeypatch):
    monkeypatch.setattr("tasks.ledger.ledger.FRAME_ROWS", 1)
    write(tmp_path, [respond(index) for index in range(6)], flush_responses=1)
    wanted = pl.DataFrame({"response_id": [respond(index).response_id for index in range(6)]})
    frames = Ledger(tmp_path, "m_a").scan(wanted, ["sample_index"])
    seen = [next(frames), next(frames)]
    assert compact(tmp_path / "m_a").after == 1
    # Written meanwhile, and merged too.
    seen += frames
    assert pl.concat(seen)["sample_index"].unique().sort().to_list() == list(range(6))


@pytest.mark.slow
def test_writers_and_compaction_side_by_side_lose_nothing(tmp_path):
    writing = """
import sys
from pathlib import Path
from tests.ledger.responses import respond, write
start = int(sys.argv[2])
write(Path(sys.argv[1]), [respond(index) for index in range(start, start + 150)], flush_responses=2)
"""
    (tmp_path / "m_a").mkdir()
    writers = [python(writing, tmp_path, start) for start in (0, 150)]
    while any(writer.poll() is None for writer in writers):
        compact(tmp_path / "m_a")
        there = found(tmp_path, 300)
        compact(tmp_path / "m_a")
        assert set(there) <= set(found(tmp_path, 300))
    for writer in writers:
        assert writer.communicate()[1] == ""
        assert writer.returncode == 0
    assert found(tmp_path, 301) == list(range(300))
