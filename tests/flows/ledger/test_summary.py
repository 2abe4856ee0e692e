import pytest

from flows.ledger.responses import find, folders, summarise, verify
from tasks.core.errors import LimoError
from tasks.ledger.ledger import Ledger
from tests.ledger.responses import ENGINE, found, respond, segments, write


def test_counts_every_response_once_and_what_waits(tmp_path):
    write(tmp_path, [respond(0), respond(1, reason="length"), respond(1, reason="length"), respond(2, reason="loop")])
    (tmp_path / "m_a" / "1-1-x.parquet.torn").write_bytes(b"PAR1")
    waiting = Ledger(tmp_path, "m_a")
    waiting.add([respond(3, engine="other 1.0")])
    size = sum(path.stat().st_size for path in (tmp_path / "m_a").iterdir())
    (tmp_path / "m_a" / "vllm.log").write_text("no response")
    # As a file that was removed since the folder was listed.
    (tmp_path / "m_a" / "2-1-x.journal.torn").symlink_to("gone")
    result = summarise(tmp_path / "m_a")
    assert (result.responses, result.repeated, result.tokens, result.prompt_tokens) == (4, 1, 8, 16)
    assert result.finished == {"stop": 2, "length": 1, "loop": 1}
    assert result.engines == {ENGINE: 3, "other 1.0": 1}
    assert (result.segments, result.waiting, result.torn) == (1, 1, 2)
    assert result.size == size
    assert 1.7e9 < result.first <= result.last


def test_no_ledger_is_reported(tmp_path):
    with pytest.raises(LimoError, match="no ledger there"):
        folders(tmp_path / "none")


def test_verify_sets_aside_what_is_torn(tmp_path, capsys):
    write(tmp_path, [respond(0), respond(1)], flush_responses=1)
    assert verify(tmp_path / "m_a") == ("m_a", 2, [])
    torn = segments(tmp_path)[0]
    torn.write_bytes(torn.read_bytes()[:-9])
    result = verify(tmp_path / "m_a")
    assert (result.responses, len(result.torn)) == (1, 1)
    assert capsys.readouterr().err.count("\n") == 1
    assert verify(tmp_path / "m_a").torn == []


def test_verify_keeps_only_responses_that_hash_to_their_id(tmp_path, capsys):
    changed = respond(1).model_copy(update={"prompt": "3 + 5?"})
    write(tmp_path, [respond(0), changed, respond(2)])
    result = verify(tmp_path / "m_a")
    assert result.responses == 2
    assert "1 responses do not hash to their id" in result.torn[0]
    assert "2 of its 3 responses are sound and kept" in capsys.readouterr().err
    assert found(tmp_path, 3) == [0, 2]


def test_a_response_is_found_by_the_beginning_of_its_id_in_segment_or_journal(tmp_path):
    write(tmp_path, [respond(0)])
    waiting = Ledger(tmp_path, "m_a")
    waiting.add([respond(1)])
    for index in (0, 1):
        key = respond(index).response_id
        assert find(tmp_path, key[:10]).response_id == key
    with pytest.raises(LimoError, match="2 responses begin so"):
        find(tmp_path, "r_")
    with pytest.raises(LimoError, match="no `r_x`"):
        find(tmp_path, "r_x")
