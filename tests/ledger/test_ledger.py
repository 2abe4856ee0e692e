import multiprocessing
import resource

import polars as pl
import pytest

from tasks.ledger.ledger import Ledger
from tasks.records.response import RESPONSE
from tests.ledger.responses import found, respond, segments, write


def test_what_was_written_is_found_by_id_and_nothing_else(tmp_path):
    kept = [respond(0), respond(1, "七 \\boxed{7}")]
    write(tmp_path, kept)
    found = Ledger(tmp_path, "m_a").lookup([kept[1].response_id, "r_absent"])
    assert found == {kept[1].response_id: kept[1]}


def test_a_new_ledger_is_empty_and_makes_no_folder(tmp_path):
    write(tmp_path, [])
    assert Ledger(tmp_path, "m_a").lookup(["r_1"]) == {}
    assert list(tmp_path.iterdir()) == []


def test_each_model_has_its_own_responses(tmp_path):
    write(tmp_path, [respond(0)])
    assert Ledger(tmp_path, "m_b").lookup([respond(0).response_id]) == {}


def test_flushes_after_so_many_responses_before_it_is_closed(tmp_path):
    ledger = Ledger(tmp_path, "m_a", flush_responses=2, flush_seconds=1000)
    ledger.add([respond(0)])
    assert segments(tmp_path) == []
    ledger.add([])
    ledger.add([respond(1)])
    assert [pl.read_parquet_schema(path) for path in segments(tmp_path)] == [RESPONSE]


def test_flushes_after_so_many_seconds(tmp_path):
    ledger = Ledger(tmp_path, "m_a", flush_responses=1000, flush_seconds=0)
    ledger.add([respond(0)])
    assert len(segments(tmp_path)) == 1


def test_an_exception_loses_nothing(tmp_path):
    try:
        with Ledger(tmp_path, "m_a") as ledger:
            ledger.add([respond(0)])
            raise KeyboardInterrupt
    except KeyboardInterrupt:
        pass
    assert len(Ledger(tmp_path, "m_a").lookup([respond(0).response_id])) == 1


def test_half_a_write_is_never_seen(tmp_path):
    write(tmp_path, [respond(0)])
    (tmp_path / "m_a" / "1-1-x.tmp").write_bytes(b"PAR1 half")
    assert len(Ledger(tmp_path, "m_a").lookup([respond(0).response_id])) == 1


def test_the_older_of_two_writes_of_the_same_response_counts(tmp_path):
    write(tmp_path, [respond(0, "first")])
    write(tmp_path, [respond(0, "second")])
    assert Ledger(tmp_path, "m_a").lookup([respond(0).response_id])[respond(0).response_id].text == "first"


@pytest.mark.slow
def test_two_processes_write_at_once(tmp_path):
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_write_many, args=(tmp_path, start)) for start in (0, 200)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert [writer.exitcode for writer in writers] == [0, 0]
    assert found(tmp_path, 401) == list(range(400))


def _write_many(folder, start):
    write(folder, [respond(index) for index in range(start, start + 200)], flush_responses=3)


def scan(folder, wanted, columns):
    return pl.concat(
        [pl.DataFrame(schema={"response_id": pl.String}), *Ledger(folder, "m_a").scan(wanted, columns)], how="diagonal"
    )


def test_a_scan_joins_the_columns_of_the_wanted_rows(tmp_path):
    write(tmp_path, [respond(index, f"text {index}") for index in range(5)])
    ids = [respond(index).response_id for index in (3, 1, 3, 9)]
    wanted = pl.DataFrame({"response_id": ids, "place": [0, 1, 2, 3]})
    rows = scan(tmp_path, wanted, ["text", "n_tokens"])
    assert rows.columns == ["response_id", "place", "text", "n_tokens"]
    output = sorted(rows.select("place", "text").iter_rows())
    assert output == [(0, "text 3"), (1, "text 1"), (2, "text 3")]
    assert scan(tmp_path, wanted, [])["place"].sort().to_list() == [0, 1, 2]


def test_a_scan_sees_what_waits_here_and_in_another_writer(tmp_path):
    other = Ledger(tmp_path, "m_a")
    other.add([respond(0)])
    own = Ledger(tmp_path, "m_a")
    own.add([respond(1)])
    assert segments(tmp_path) == []
    assert set(own.lookup(respond(index).response_id for index in (0, 1))) == {
        respond(0).response_id,
        respond(1).response_id,
    }


def test_frames_are_bounded_and_hold_only_their_own_texts(tmp_path, monkeypatch):
    monkeypatch.setattr("tasks.ledger.ledger.FRAME_ROWS", 100)
    write(tmp_path, [respond(index, f"{index} " * 100) for index in range(400)], flush_responses=130)
    wanted = pl.DataFrame({"response_id": [respond(index).response_id for index in range(0, 400, 2)]})
    frames = list(Ledger(tmp_path, "m_a").scan(wanted, ["text"]))
    assert sum(frame.height for frame in frames) == 200
    assert max(frame.height for frame in frames) <= 100
    assert sum(frame["text"].str.starts_with("1 ").sum() for frame in frames) == 0


def test_segments_of_earlier_versions_are_read_with_defaults_for_their_columns(tmp_path):
    (tmp_path / "m_a").mkdir()
    old = pl.DataFrame([respond(0).model_dump()], schema=RESPONSE).drop("logprob_sum", "engine", "finished_at")
    old.write_parquet(tmp_path / "m_a" / "0001-1-x.parquet")
    read = Ledger(tmp_path, "m_a").lookup([respond(0).response_id])[respond(0).response_id]
    assert read == respond(0).model_copy(update={"logprob_sum": None, "engine": "", "finished_at": 0.0})


def test_half_a_character_from_a_server_is_kept_as_a_question_mark(tmp_path):
    write(tmp_path, [respond(0, "half \ud83d of it")])
    assert Ledger(tmp_path, "m_a").lookup([respond(0).response_id])[respond(0).response_id].text == "half ? of it"


def test_many_segments_are_merged_when_the_ledger_is_entered(tmp_path, monkeypatch):
    monkeypatch.setattr("tasks.ledger.ledger.MANY_SEGMENTS", 5)
    write(tmp_path, [respond(index) for index in range(8)], flush_responses=1)
    assert len(segments(tmp_path)) == 8
    write(tmp_path, [])
    assert len(segments(tmp_path)) == 1
    assert found(tmp_path, 9) == list(range(8))


def test_segments_that_cannot_be_merged_are_reported_and_used_as_they_are(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("tasks.ledger.ledger.MANY_SEGMENTS", 1)
    write(tmp_path, [respond(index) for index in range(3)], flush_responses=1)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
    try:
        with Ledger(tmp_path, "m_a") as ledger:
            assert len(ledger.lookup(respond(index).response_id for index in range(3))) == 3
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "segments not merged" in capsys.readouterr().err
    assert len(segments(tmp_path)) == 3
