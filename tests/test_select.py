import polars as pl
import pytest

from tasks.errors import LimoError
from tasks.files import read_json, read_table
from tasks.records.chain import SAMPLE, SCORED
from tasks.select import SelectParams, run, select_samples


def make_scored(*rows):
    """Chains from (chain, question, quality) and, if given, domain and tokens."""
    made = []
    for name, question, quality, *more in rows:
        domain, tokens = [*more, *(None, 10)[len(more) :]]
        given = dict.fromkeys(SCORED, None) | {"chain_id": name, "question_id": question, "quality": quality}
        made.append(given | {"teacher": "t", "domain": domain, "n_tokens": tokens})
    return pl.DataFrame(made, schema=SCORED)


CHAINS = [("c_a", "q_1", 0.9), ("c_b", "q_1", 0.5), ("c_c", "q_2", 0.7), ("c_d", "q_2", 0.7), ("c_e", "q_3", 0.2)]


def picked(decided):
    return decided.filter(pl.col("reason").is_null()).select("rank", "chain_id").rows()


def test_best_of_each_question_ranked_by_quality_ties_by_id():
    assert picked(select_samples(make_scored(*CHAINS), SelectParams())) == [(1, "c_a"), (2, "c_c"), (3, "c_e")]


def test_each_chain_left_out_says_why():
    decided = select_samples(make_scored(*CHAINS), SelectParams(count=2))
    why = {row["chain_id"]: (row["reason"], row["evidence"]) for row in decided.iter_rows(named=True)}
    assert why["c_b"] == ("not_best_of_question", "c_a with quality 0.9")
    assert why["c_d"] == ("not_best_of_question", "c_c with quality 0.7")
    assert why["c_e"] == ("below_cut", "place 3 of 3, cut at 2")
    assert decided.height == len(CHAINS)


def test_domains_take_turns_and_the_ranks_follow_quality():
    rows = [("c_1", "q_1", 0.9, "A"), ("c_2", "q_2", 0.8, "A"), ("c_3", "q_3", 0.7, "A"), ("c_4", "q_4", 0.1, None)]
    decided = select_samples(make_scored(*rows), SelectParams(count=2, balance="domain"))
    assert picked(decided) == [(1, "c_1"), (2, "c_4")]
    why = dict(decided.filter(pl.col("reason").is_not_null()).select("chain_id", "reason").iter_rows())
    assert why == {"c_2": "domain_full", "c_3": "below_cut"}


@pytest.mark.parametrize(("order", "chosen"), [("shortest", "c_s"), ("longest", "c_l"), ("quality", "c_m")])
def test_the_order_decides_within_a_question(order, chosen):
    rows = [("c_s", "q_1", 0.1, None, 5), ("c_m", "q_1", 0.9, None, 50), ("c_l", "q_1", 0.2, None, 500)]
    assert picked(select_samples(make_scored(*rows), SelectParams(order=order))) == [(1, chosen)]


def test_random_order_depends_on_the_seed_and_not_on_the_order_of_rows():
    rows = [(f"c_{number}", f"q_{number}", 0.5) for number in range(50)]
    draws = [
        picked(select_samples(make_scored(*given), SelectParams(count=5, order="random", seed=seed)))
        for given, seed in ((rows, 1), (rows[::-1], 1), (rows, 2))
    ]
    assert draws[0] == draws[1]
    assert draws[0] != draws[2]


def test_too_few_are_all_kept_and_the_shortfall_is_told(tmp_path):
    make_scored(*CHAINS).write_parquet(tmp_path / "chains.parquet")
    run(SelectParams(count=10), chains=tmp_path / "chains.parquet", out=tmp_path / "select")
    manifest = read_json(tmp_path / "select" / "manifest.json")
    assert (manifest["taken"], manifest["kept"]) == (5, 3)
    assert manifest["rejected"] == {"not_best_of_question": 2}
    assert manifest["facts"]["short_by"] == 7
    assert read_table(tmp_path / "select" / "kept.parquet", SAMPLE)["rank"].to_list() == [1, 2, 3]


def test_a_chain_that_is_there_twice_is_named(tmp_path):
    make_scored(CHAINS[0], CHAINS[0]).write_parquet(tmp_path / "chains.parquet")
    with pytest.raises(LimoError, match="chain c_a is there twice"):
        run(SelectParams(), chains=tmp_path / "chains.parquet", out=tmp_path / "select")
