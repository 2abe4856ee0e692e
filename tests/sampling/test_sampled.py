import polars as pl
import pytest

from tasks.core.errors import LimoError
from tasks.engines.params import SamplingParams
from tasks.engines.protocol import make_request
from tasks.ledger.ledger import Ledger
from tasks.records.response import TOO_LONG
from tasks.sampling import sampler
from tasks.sampling.sampler import DRAWN, with_texts, write_with_texts

SAMPLING = SamplingParams(temperature=1.0)


@pytest.fixture
def ledger(tmp_path):
    """Forty responses in the order opposite to the table's, in several segments; one of them twice."""
    responses = [
        make_request("m_a", "3 + 4?", SAMPLING, index).finish(f"text {index}", "stop", 4, 9, 0.5) for index in range(40)
    ]
    other = responses[7].model_copy(update={"text": "of another run", "finished_at": 1.0})
    with Ledger(tmp_path / "ledger", "m_a") as ledger:
        for start in range(0, 41, 8):
            ledger.add([*reversed(responses), other][start : start + 8])
            ledger.flush()
    return responses, ledger


def table_of(responses):
    rows = [
        ("q_1", index, one.response_id, one.sample_index, one.finish_reason, one.n_tokens, "<think>\n", one.finished_at)
        for index, one in enumerate(responses)
    ]
    return pl.DataFrame(rows, schema=DRAWN, orient="row")


def test_each_row_gets_its_text_with_what_the_prompt_had_opened(ledger):
    responses, book = ledger
    whole = with_texts(table_of(responses), book)
    assert whole["text"].to_list() == [f"<think>\ntext {index}" for index in range(40)]


def test_the_copy_that_was_graded_is_taken(ledger):
    responses, book = ledger
    taken = responses[7].model_copy(update={"finished_at": 1.0})
    assert with_texts(table_of([taken]), book)["text"].item() == "<think>\nof another run"


def test_written_in_parts_it_is_the_same_table(ledger, tmp_path, monkeypatch):
    responses, book = ledger
    refused = make_request("m_a", "endless", SAMPLING, 0).finish("", TOO_LONG, 9999, 0, 0.0)
    table = table_of([*responses, refused, responses[3]])
    columns = ["key", "sample_index", "text"]
    write_with_texts(table, book, tmp_path / "whole.parquet", columns)
    monkeypatch.setattr(sampler, "PART_BYTES", 300)
    write_with_texts(table, book, tmp_path / "parts.parquet", columns)
    whole, parts = (pl.read_parquet(tmp_path / f"{name}.parquet") for name in ("whole", "parts"))
    assert parts.equals(whole)
    assert parts.height == 42
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ledger", "parts.parquet", "whole.parquet"]


def test_a_response_that_is_gone_is_one_line(ledger, tmp_path):
    responses, _ = ledger
    with pytest.raises(LimoError, match="40 responses are no longer in the ledger"):
        with_texts(table_of(responses), Ledger(tmp_path / "other", "m_a"))
