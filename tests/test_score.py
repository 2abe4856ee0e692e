import polars as pl
import pytest

from tasks.core.errors import LimoError
from tasks.core.files import read_table
from tasks.core.params import section_errors
from tasks.records.response import CHAIN, SCORED
from tasks.score import ScoreParams, run, score_chains
from tests.builders import manifest_of


def make_chain(text="we check it", n_tokens=100, name="c_1"):
    given = {"chain_id": name, "question_id": "q_1", "response_id": "r_1", "model_id": "m_1", "teacher": "t"}
    given |= {"sample_index": 0, "question": "q", "answer": "1", "domain": None, "text": text, "n_tokens": n_tokens}
    return pl.DataFrame([given], schema=CHAIN)


def test_quality_is_the_weighted_sum_of_the_papers_dimensions():
    # 100 words with one keyword of exploring and two connectives: densities 0, 1 and 2 in a hundred.
    text = "perhaps therefore since" + " x" * 97
    row = score_chains(make_chain(text, n_tokens=500), ScoreParams(full_length=1000, full_density=4)).row(0, named=True)
    assert row["elaboration"] == pytest.approx(0.5)
    assert row["verification"] == 0
    assert row["exploration"] == pytest.approx(0.25)
    assert row["granularity"] == pytest.approx(0.5)
    assert row["quality"] == pytest.approx(0.30 * 0.5 + 0.20 * 0 + 0.25 * 0.25 + 0.25 * 0.5)


def test_a_chain_scores_the_same_whatever_is_next_to_it():
    alone = score_chains(make_chain("check " * 30, 300), ScoreParams())
    beside = pl.concat([make_chain("perhaps " * 900, 9000, "c_2"), make_chain("check " * 30, 300)])
    assert score_chains(beside, ScoreParams()).filter(chain_id="c_1").equals(alone)


def test_weights_that_do_not_sum_to_one_and_blank_keywords_are_both_refused():
    section = {"weights": {"elaboration": 0.5}, "exploration": ["might", " "], "full_length": 0}
    found = section_errors("score", section, ScoreParams)
    assert [line.split(":")[0] for line in found] == ["score.weights", "score.full_length", "score.exploration"]
    assert "must sum to 1, not 1.2" in found[0]


def test_run_writes_every_chain_and_a_manifest(tmp_path):
    pl.concat([make_chain(), make_chain(name="c_2")]).write_parquet(tmp_path / "chains.parquet")
    run(ScoreParams(), chains=tmp_path / "chains.parquet", out=tmp_path / "score")
    scored = read_table(tmp_path / "score" / "chains.parquet", SCORED)
    assert scored["chain_id"].to_list() == ["c_1", "c_2"]
    manifest = manifest_of(tmp_path / "score")
    assert (manifest["taken"], manifest["kept"], manifest["rejected"]) == (2, 2, {})


def test_no_chain_at_all_is_one_clear_line_and_writes_nothing(tmp_path):
    make_chain().clear().write_parquet(tmp_path / "chains.parquet")
    with pytest.raises(LimoError, match=r"no chain to score; loosen the section `reason`"):
        run(ScoreParams(), chains=tmp_path / "chains.parquet", out=tmp_path / "score")
    assert not (tmp_path / "score").exists()
