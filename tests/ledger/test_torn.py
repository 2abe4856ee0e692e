"""Torn segments: seen, set aside with one line, and what is sound of them kept."""

import os
import resource

import polars as pl
import pytest

from tasks.core.errors import LimoError
from tasks.ledger import segments as module
from tasks.ledger.compaction import compact
from tasks.ledger.ledger import Ledger
from tasks.ledger.segments import Segment, TornError
from tests.ledger.responses import found, respond, segments, write


def damage(path, start, raw):
    whole = bytearray(path.read_bytes())
    whole[start : start + len(raw)] = raw
    path.write_bytes(bytes(whole))


def test_a_cut_off_segment_is_set_aside_with_one_line_and_the_rest_stays(tmp_path, capsys):
    write(tmp_path, [respond(0)])
    write(tmp_path, [respond(1)])
    torn = segments(tmp_path)[0]
    torn.write_bytes(torn.read_bytes()[:-9])
    assert found(tmp_path, 2) == [1]
    assert torn.with_name(torn.name + ".torn").exists()
    assert capsys.readouterr().err.count("\n") == 1
    assert found(tmp_path, 2) == [1]
    assert capsys.readouterr().err == ""


def test_of_a_segment_torn_in_the_middle_the_sound_row_groups_are_kept(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(module, "GROUP_BYTES", 20_000)
    write(tmp_path, [respond(index, os.urandom(3000).hex()) for index in range(10)])
    [torn] = segments(tmp_path)
    with Segment(torn) as segment:
        first = segment.group_rows[0]
        assert len(segment.group_rows) > 2
    damage(torn, 5000, b"xx")
    assert found(tmp_path, 10) == list(range(first, 10))
    output = capsys.readouterr().err
    assert "torn segment set aside" in output
    assert f"{10 - first} of its 10 responses are sound and kept" in output
    assert output.count("\n") == 1


def test_a_flipped_bit_anywhere_is_an_error_or_changes_nothing(tmp_path):
    write(tmp_path, [respond(index, f"text {index}") for index in range(3)])
    [path] = segments(tmp_path)
    sound = path.read_bytes()
    seen = 0
    with Segment(path) as segment:
        before = segment.read(module.SCHEMA.names)
    for place in range(0, len(sound), 7):
        damage(path, place, bytes([sound[place] ^ (1 << place % 8)]))
        try:
            with Segment(path) as segment:
                assert segment.read(module.SCHEMA.names).equals(before), f"byte {place} of {len(sound)}"
        except TornError:
            seen += 1
        path.write_bytes(sound)
    assert seen > len(sound) / 7 / 2


def test_a_segment_of_a_later_version_is_read_without_its_further_columns(tmp_path, capsys):
    write(tmp_path, [respond(0)])
    [path] = segments(tmp_path)
    pl.read_parquet(path).with_columns(later=pl.lit(1)).write_parquet(path)
    write(tmp_path, [respond(1)])
    assert found(tmp_path, 2) == [0, 1]
    assert compact(tmp_path / "m_a").after == 2
    assert "later" in pl.read_parquet_schema(path)
    assert capsys.readouterr().err == ""


def test_a_sound_segment_without_our_columns_is_reported_and_never_set_aside(tmp_path):
    write(tmp_path, [respond(0)])
    [path] = segments(tmp_path)
    pl.read_parquet(path).drop("prompt").write_parquet(path)
    with pytest.raises(LimoError, match=r"written by another version of limo \(no column prompt\)"):
        found(tmp_path, 1)
    assert segments(tmp_path) == [path]


def test_a_damaged_name_of_a_column_is_not_another_version(tmp_path, capsys):
    write(tmp_path, [respond(0)])
    write(tmp_path, [respond(1)])
    torn = segments(tmp_path)[0]
    torn.write_bytes(torn.read_bytes().replace(b"sampling", b"samplinh"))
    assert found(tmp_path, 2) == [1]
    assert "not the columns of a response" in capsys.readouterr().err


def test_too_many_open_files_say_nothing_against_a_segment(tmp_path):
    write(tmp_path, [respond(0)])
    [path] = segments(tmp_path)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    opened = [os.open("/dev/null", os.O_RDONLY) for _ in range(3)]
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(opened) + 1, hard))
    try:
        with pytest.raises(LimoError, match="cannot be read .*Too many open files"):
            Segment(path)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for file in opened:
            os.close(file)
    assert found(tmp_path, 1) == [0]


def test_abandoned_temporary_files_are_removed_and_those_being_written_are_not(tmp_path):
    write(tmp_path, [respond(0)])
    old, new = (tmp_path / "m_a" / f"{name}.tmp" for name in ("old", "new"))
    for path in (old, new):
        path.write_bytes(b"PAR1 half")
    os.utime(old, (1e9, 1e9))
    with Ledger(tmp_path, "m_a"):
        assert (old.exists(), new.exists()) == (False, True)
