import multiprocessing

import polars as pl

from tasks.engines.ledger import Ledger
from tasks.engines.params import SamplingParams
from tasks.engines.protocol import make_request
from tasks.records.response import RESPONSE

SAMPLING = SamplingParams(temperature=1.0)


def respond(index, text="seven", prompt="3 + 4?"):
    return make_request("m_a", prompt, SAMPLING, index).finish(text, "stop", 4, 2, 0.5)


def write(folder, responses, **settings):
    with Ledger(folder, "m_a", **settings) as ledger:
        for response in responses:
            ledger.add([response])


def segments(folder):
    return sorted((folder / "m_a").glob("*.parquet"))


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


def test_a_cut_off_segment_is_set_aside_with_one_line_and_the_rest_stays(tmp_path, capsys):
    write(tmp_path, [respond(0)])
    write(tmp_path, [respond(1)])
    torn = segments(tmp_path)[0]
    torn.write_bytes(torn.read_bytes()[:-9])
    ids = [respond(index).response_id for index in (0, 1)]
    assert set(Ledger(tmp_path, "m_a").lookup(ids)) == {ids[1]}
    assert torn.with_name(torn.name + ".torn").exists()
    assert capsys.readouterr().err.count("\n") == 1
    assert set(Ledger(tmp_path, "m_a").lookup(ids)) == {ids[1]}
    assert capsys.readouterr().err == ""


def test_a_segment_torn_in_the_middle_is_set_aside(tmp_path, capsys):
    write(tmp_path, [respond(0, text="long " * 500)])
    write(tmp_path, [respond(1)])
    torn = segments(tmp_path)[0]
    raw = bytearray(torn.read_bytes())
    raw[4:200] = bytes(196)
    torn.write_bytes(bytes(raw))
    ids = [respond(index).response_id for index in (0, 1)]
    assert set(Ledger(tmp_path, "m_a").lookup(ids)) == {ids[1]}
    assert "torn segment set aside" in capsys.readouterr().err


def test_a_file_with_other_columns_is_set_aside(tmp_path, capsys):
    write(tmp_path, [respond(0)])
    pl.DataFrame({"response_id": ["r_x"]}).write_parquet(tmp_path / "m_a" / "0.parquet")
    assert len(Ledger(tmp_path, "m_a").lookup([respond(0).response_id])) == 1
    assert "not the columns of a response" in capsys.readouterr().err


def test_half_a_write_is_never_seen(tmp_path):
    write(tmp_path, [respond(0)])
    (tmp_path / "m_a" / "1-1-x.tmp").write_bytes(b"PAR1 half")
    assert len(Ledger(tmp_path, "m_a").lookup([respond(0).response_id])) == 1


def test_the_older_of_two_writes_of_the_same_response_counts(tmp_path):
    write(tmp_path, [respond(0, "first")])
    write(tmp_path, [respond(0, "second")])
    assert Ledger(tmp_path, "m_a").lookup([respond(0).response_id])[respond(0).response_id].text == "first"


def test_two_processes_write_at_once(tmp_path):
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_write_many, args=(tmp_path, start)) for start in (0, 200)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert [writer.exitcode for writer in writers] == [0, 0]
    assert len(Ledger(tmp_path, "m_a").lookup(respond(index).response_id for index in range(400))) == 400


def _write_many(folder, start):
    write(folder, [respond(index) for index in range(start, start + 200)], flush_responses=3)
