"""Journals: what was added outlives the process, whatever ends it, and a full disk."""

import fcntl
import os
import resource
import signal
import subprocess
import sys

import pytest

from flows.ledger.responses import verify
from tasks.core.errors import LimoError
from tasks.ledger.journal import read_journal
from tasks.ledger.ledger import Ledger
from tests.ledger.responses import found, python, respond, segments, write

ADDING = """
import sys
from pathlib import Path
from tasks.ledger.ledger import Ledger
from tests.ledger.responses import respond
with Ledger(Path(sys.argv[1]), "m_a", flush_responses=int(sys.argv[2])) as ledger:
    for index in range(100_000):
        ledger.add([respond(index)])
        print(index, flush=True)
"""
FULL = """
import errno, os, resource, sys
from pathlib import Path
from tasks.ledger import segments
from tasks.ledger.ledger import Ledger
from tasks.core.errors import LimoError
from tests.ledger.responses import respond
folder, added = Path(sys.argv[1]), 0
if sys.argv[3] == "limit":
    segments.FULL = (*segments.FULL, errno.EFBIG)
    resource.setrlimit(resource.RLIMIT_FSIZE, (12 * 2**20, -1))
try:
    with Ledger(folder, "m_a", flush_responses=int(sys.argv[2])) as ledger:
        while added < 10_000:
            added += 1
            ledger.add([respond(added - 1, os.urandom(30_000).hex())])
except LimoError as error:
    print(f"{added}|{error}")
print(*sorted(path.suffix for path in (folder / "m_a").iterdir()))
there = Ledger(folder, "m_a").lookup(respond(index).response_id for index in range(added))
print(len(there) - added)
(folder / "ballast").unlink()
resource.setrlimit(resource.RLIMIT_FSIZE, (-1, -1))
with Ledger(folder, "m_a") as ledger:
    there = ledger.lookup(respond(index).response_id for index in range(added))
    ledger.add([respond(added)])
print(len(there) - added)
print(*sorted({path.suffix for path in (folder / "m_a").iterdir()}))
"""


@pytest.mark.slow
@pytest.mark.parametrize("flush", [7, 10_000])
def test_after_kill_9_every_response_that_was_added_is_there(tmp_path, flush):
    process = python(ADDING, tmp_path, flush)
    for line in process.stdout:
        if int(line) >= 60:
            process.kill()
            break
    last = max([60, *map(int, process.stdout)])
    process.wait()
    assert process.returncode == -signal.SIGKILL
    process.stdout.close()
    process.stderr.close()
    assert found(tmp_path, last + 1) == list(range(last + 1))
    # The next run makes a segment of the journal.
    write(tmp_path, [])
    assert found(tmp_path, last + 1) == list(range(last + 1))
    assert list((tmp_path / "m_a").glob("*.journal")) == []


def test_a_forked_worker_that_outlives_its_parent_does_not_keep_the_journal(tmp_path):
    ledger = Ledger(tmp_path, "m_a")
    ledger.add([respond(0)])
    ended, end = os.pipe()
    ready, begin = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(end)
        os.write(begin, b"1")
        os.read(ended, 1)
        os._exit(0)
    os.read(ready, 1)
    ledger._journal.release()  # as the system does for a process that dies
    write(tmp_path, [])
    assert len(segments(tmp_path)) == 1
    os.close(end)
    assert os.waitpid(child, 0)[1] == 0
    for file in (ended, ready, begin):
        os.close(file)


def journal_of_a_dead_writer(folder, count):
    ledger = Ledger(folder, "m_a")
    for index in range(count):
        ledger.add([respond(index)])
    fcntl.flock(ledger._journal._file, fcntl.LOCK_UN)
    return ledger._journal.path


def test_a_living_writers_journal_is_left_alone(tmp_path):
    ledger = Ledger(tmp_path, "m_a")
    ledger.add([respond(0)])
    write(tmp_path, [])
    assert segments(tmp_path) == []
    ledger.close()
    assert found(tmp_path, 1) == [0]


def test_a_torn_tail_costs_only_the_write_that_was_cut_off(tmp_path, capsys):
    path = journal_of_a_dead_writer(tmp_path, 3)
    raw = path.read_bytes()
    end = len(raw.rstrip(b"\0"))
    # Pages that were never written are zeros, as a power cut leaves them.
    path.write_bytes(raw[: end - 200] + bytes(200) + raw[end:])
    assert found(tmp_path, 3) == [0, 1]
    write(tmp_path, [])
    assert found(tmp_path, 3) == [0, 1]
    assert "2 responses recovered" in capsys.readouterr().err
    assert [path.suffix for path in (tmp_path / "m_a").iterdir() if path.suffix == ".torn"] == [".torn"]


def test_a_changed_letter_in_a_journal_is_not_taken_for_what_was_written(tmp_path):
    path = journal_of_a_dead_writer(tmp_path, 2)
    raw = path.read_bytes()
    damaged = 0
    for place in range(0, len(raw.rstrip(b"\0")), 97):
        path.write_bytes(raw[:place] + bytes([raw[place] ^ 4]) + raw[place + 1 :])
        read = read_journal(path).rows.to_pylist()
        assert read == [row for row in read if row["text"] == "seven" and row["n_tokens"] == 2]
        damaged += len(read) < 2
    assert damaged


def test_a_crash_between_segment_and_journal_leaves_no_response_twice(tmp_path):
    path = journal_of_a_dead_writer(tmp_path, 2)
    kept = path.read_bytes()
    write(tmp_path, [])
    path.write_bytes(kept)
    write(tmp_path, [])
    assert len(segments(tmp_path)) == 2
    assert found(tmp_path, 3) == [0, 1]


def test_an_empty_or_new_journal_is_no_damage(tmp_path, capsys):
    (tmp_path / "m_a").mkdir()
    for name, raw in (("a", b""), ("b", bytes(4096))):
        (tmp_path / "m_a" / f"{name}.journal").write_bytes(raw)
    write(tmp_path, [])
    assert list((tmp_path / "m_a").iterdir()) == []
    assert capsys.readouterr().err == ""


def test_a_journal_that_cannot_be_opened_is_reported_and_stays(tmp_path):
    path = tmp_path / "m_a" / "1-1-x.journal"
    path.mkdir(parents=True)
    for enter in (lambda: write(tmp_path, []), lambda: verify(tmp_path / "m_a"), lambda: found(tmp_path, 1)):
        with pytest.raises(LimoError, match=r"cannot be (written|read).*Is a directory"):
            enter()
    assert path.exists()


def test_a_journal_without_room_is_reported_before_anything_is_generated(tmp_path):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, hard))
    try:
        with pytest.raises(LimoError, match="cannot be written .*finished responses are safe"):
            Ledger(tmp_path, "m_a").reserve()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list((tmp_path / "m_a").iterdir()) == []


def on_small_disk(folder, flush):
    """Run FULL with 12 MiB of disk, 20 MiB more to be freed: on a file system of its own, where one may be mounted.

    Where none may be: with a limit on the size of files, which only the journal can reach.
    """
    mount = f"mount -t tmpfs -o size=32m tmpfs {folder} && head -c 20971520 /dev/zero > {folder}/ballast"
    for way in (["unshare", "-rm"], ["unshare", "-m"]):
        if subprocess.run([*way, "sh", "-c", mount], capture_output=True).returncode == 0:
            run = f'{mount} && "{sys.executable}" -c "$0" {folder} {flush} none'
            return subprocess.run([*way, "sh", "-c", run, FULL], capture_output=True, text=True)
    (folder / "ballast").touch()
    command = [sys.executable, "-c", FULL, folder, "100000", "limit"]
    return subprocess.run(command, capture_output=True, text=True)


# After every 16 responses a segment; and never, so that the journal itself fills the disk.
@pytest.mark.slow
@pytest.mark.parametrize("flush", [16, 100_000])
def test_on_a_full_disk_nothing_is_lost_and_the_next_run_resumes(tmp_path, flush):
    done = on_small_disk(tmp_path, flush)
    assert done.returncode == 0, done.stderr
    output, left, lost, lost_later, left_later = done.stdout.splitlines()
    assert "no space left on the device" in output
    assert "responses are safe in the journal" in output or "responses are safe in the ledger" in output
    assert "free some space and run again" in output
    assert ".tmp" not in left
    assert (lost, lost_later) == ("0", "0")
    assert left_later == ".parquet"
