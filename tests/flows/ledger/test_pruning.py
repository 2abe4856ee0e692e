import pytest

from flows.ledger.responses import Selection, prune, to_prune
from tasks.core.errors import LimoError
from tasks.ledger.compaction import compact
from tasks.ledger.ledger import Ledger
from tests.ledger.responses import found, respond, segments, write


def test_only_what_is_selected_is_removed(tmp_path):
    old = respond(1).model_copy(update={"finished_at": 1e9})
    write(tmp_path, [respond(0), old, respond(2, engine="other 1.0")])
    assert to_prune(tmp_path / "m_a", Selection(engine="other"))[1:3] == (1, 2)
    assert found(tmp_path, 3) == [0, 1, 2]
    assert prune(tmp_path / "m_a", Selection(engine="other")).responses == 1
    assert found(tmp_path, 3) == [0, 1]
    assert prune(tmp_path / "m_a", Selection(engine="other")).responses == 0
    assert prune(tmp_path / "m_a", Selection(before=1.1e9)).responses == 1
    assert found(tmp_path, 3) == [0]


def test_conditions_hold_together(tmp_path):
    write(tmp_path, [respond(0), respond(1, engine="other 1.0")])
    assert to_prune(tmp_path / "m_a", Selection(engine="other", before=1e9)).responses == 0


def test_a_response_without_its_time_counts_by_when_it_was_written(tmp_path):
    write(tmp_path, [respond(0).model_copy(update={"finished_at": 0.0})])
    assert to_prune(tmp_path / "m_a", Selection(before=1.1e9)).responses == 0
    assert to_prune(tmp_path / "m_a", Selection(before=1e11)).responses == 1


def test_without_a_condition_a_whole_model_is_removed(tmp_path):
    write(tmp_path, [respond(0), respond(1)])
    size = segments(tmp_path)[0].stat().st_size
    assert prune(tmp_path / "m_a", Selection()) == ("m_a", 2, 4, size, 0)
    assert list(tmp_path.iterdir()) == []


def test_a_model_is_removed_with_the_logs_of_its_engine_but_not_with_what_is_not_known(tmp_path):
    for name in ("vllm.log", "vllm.logging.json", "notes.txt"):
        write(tmp_path, [respond(0)])
        (tmp_path / "m_a" / name).write_text("a line")
        prune(tmp_path / "m_a", Selection())
        assert (tmp_path / "m_a").exists() == (name == "notes.txt")


def test_a_folder_that_cannot_be_written_is_reported(tmp_path):
    write(tmp_path, [respond(0)])
    (tmp_path / "m_a" / "compaction.lock").mkdir()
    for remove in (compact, lambda folder: prune(folder, Selection())):
        with pytest.raises(LimoError, match="cannot be written .*compaction.lock.*stays as it is"):
            remove(tmp_path / "m_a")


def test_what_was_removed_of_a_model_is_reported_where_a_later_segment_is_torn(tmp_path):
    write(tmp_path, [respond(0)])
    write(tmp_path, [respond(1), respond(2, engine="other 1.0")])
    torn = segments(tmp_path)[1]
    # Among the first columns, which say nothing of what is removed.
    torn.write_bytes(torn.read_bytes()[:40] + b"xxxx" + torn.read_bytes()[44:])
    with pytest.raises(
        LimoError, match=r"torn .*`limo ledger verify` first; 1 responses of this model were removed before"
    ):
        prune(tmp_path / "m_a", Selection(engine="vllm"))
    assert segments(tmp_path) == [torn]


def test_torn_files_go_without_the_responses(tmp_path):
    write(tmp_path, [respond(0)])
    (tmp_path / "m_a" / "1-1-x.parquet.torn").write_bytes(b"PAR1")
    assert prune(tmp_path / "m_a", Selection(torn=True)) == ("m_a", 0, 0, 4, 1)
    assert found(tmp_path, 1) == [0]


def test_not_while_a_run_is_writing(tmp_path):
    write(tmp_path, [respond(0)])
    running = Ledger(tmp_path, "m_a")
    running.add([respond(1)])
    with pytest.raises(LimoError, match="a run is writing to it"):
        prune(tmp_path / "m_a", Selection())
    running.close()
    assert found(tmp_path, 2) == [0, 1]
