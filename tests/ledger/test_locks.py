"""Locks: one that another holds for a moment is waited for, and a file without one is never taken for a living one."""

import errno
import fcntl
import os
import threading

import pytest

from tasks.ledger import journal, segments
from tasks.ledger.journal import Journal, drop_abandoned
from tasks.ledger.ledger import Ledger
from tasks.ledger.segments import write_scratch
from tests.ledger.responses import found, respond, write


def looked_at(path, seconds=0.2):
    """Hold the lock on a file for a moment, as a run does that looks whether it was abandoned."""
    file = os.open(path, os.O_RDONLY)
    fcntl.flock(file, fcntl.LOCK_EX)
    timer = threading.Timer(seconds, os.close, [file])
    timer.start()
    return timer


def is_locked(path):
    with path.open("rb") as file:
        return not segments.try_lock(file.fileno())


def test_a_journal_that_another_run_looks_at_is_locked_all_the_same(tmp_path, monkeypatch):
    real, looks = os.open, []

    def open_and_look(path, *arguments):
        file = real(path, *arguments)
        if str(path).endswith(".tmp"):
            monkeypatch.setattr(journal.os, "open", real)
            looks.append(looked_at(path))
        return file

    monkeypatch.setattr(journal.os, "open", open_and_look)
    made = Journal(tmp_path)
    looks[0].join()
    assert is_locked(made.path)
    made.close()


def test_a_segment_that_another_run_looks_at_is_written_all_the_same(tmp_path, monkeypatch):
    monkeypatch.setattr(segments, "new_name", lambda _: "1-1-x")
    (tmp_path / "1-1-x.tmp").touch()
    looked_at(tmp_path / "1-1-x.tmp")
    assert write_scratch(tmp_path, [segments.SCHEMA.empty_table()]).exists()


def test_a_lock_that_another_keeps_is_an_error_and_a_file_system_without_locks_is_not(tmp_path, monkeypatch):
    monkeypatch.setattr(segments, "WAIT_SECONDS", 0)
    path = tmp_path / "file"
    with path.open("wb") as one, path.open("rb") as other:
        segments.lock_own(one.fileno())
        with pytest.raises(BlockingIOError):
            segments.lock_own(other.fileno())

        def none(*_):
            raise OSError(errno.ENOLCK, "No locks available")

        monkeypatch.setattr(segments.fcntl, "flock", none)
        segments.lock_own(other.fileno())
        assert not segments.try_lock(other.fileno())


def test_the_lock_of_a_young_file_is_not_even_tried(tmp_path, monkeypatch):
    path = tmp_path / "1-1-x.tmp"
    path.touch()
    tried = []
    monkeypatch.setattr(fcntl, "flock", lambda *arguments: tried.append(arguments))
    drop_abandoned(tmp_path)
    assert (tried, path.exists()) == ([], True)
    os.utime(path, (1e9, 1e9))
    drop_abandoned(tmp_path)
    assert (len(tried), path.exists()) == (1, False)


def test_a_writer_whose_journal_was_removed_starts_a_new_one_with_what_waits(tmp_path, capsys):
    ledger = Ledger(tmp_path, "m_a")
    ledger.add([respond(0), respond(1)])
    ledger._journal.path.unlink()
    ledger.add([respond(2)])
    ledger._journal.release()  # as the system does for a process that dies
    assert "has been removed; starting a new one" in capsys.readouterr().err
    write(tmp_path, [])
    assert found(tmp_path, 4) == [0, 1, 2]


def test_a_flush_that_fails_leaves_what_waits_in_a_journal_with_a_name(tmp_path, monkeypatch):
    ledger = Ledger(tmp_path, "m_a")
    ledger.add([respond(0)])
    ledger._journal.path.unlink()

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("tasks.ledger.ledger.write_segment", full)
    with pytest.raises(Exception, match="safe in the journal"):
        ledger.close()
    assert found(tmp_path, 1) == [0]
