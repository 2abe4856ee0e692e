import json

import polars as pl
import pytest

from tasks.core.errors import LimoError
from tasks.core.files import read_table
from tasks.core.params import section_errors
from tasks.records.benchmark import ITEM, item_id
from tasks.records.question import LEAK
from tasks.records.response import SAMPLE, SCORED
from tasks.select import SelectParams, find_leaks, run, select_samples
from tasks.text.ngrams import OverlapRule
from tests.builders import manifest_of


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


ITEM_TEXT = "Let $x$ and $y$ be real numbers with $x^2+y^2=25$ and $xy=12$. Find the largest value of $\\frac{x}{y}$."
REFORMATTED = (
    r"let \( x \), \( y \) be real numbers with \( x^{2} + y^{2} = 25 \) and \(xy = 12\), largest value of \dfrac xy"
)
TWIN = "Let $x$ and $y$ be real numbers with $x^2+y^2=25$ and $x+y=7$. What is the product $xy$ of both?"
LEAKY = f"Add both. This is like the known one, {REFORMATTED}, whose answer is 4/3. So \\boxed{{7}}."
PLAIN = "Add both numbers, three and four, one after the other, which makes seven. So \\boxed{7}."


def make_items(*questions):
    given = {"benchmark": "exam", "gold": "4/3", "kind": "auto", "language": "en", "origin": "f:1"}
    return pl.DataFrame([given | {"item_id": item_id("exam", text), "question": text} for text in questions], ITEM)


def with_texts(chains, questions, texts):
    columns = {"question": questions, "text": texts}
    return chains.with_columns(pl.Series(name, values, pl.String) for name, values in columns.items())


def run_select(folder, chains, items, params):
    chains.write_parquet(folder / "chains.parquet")
    items.write_parquet(folder / "items.parquet")
    run(params, chains=folder / "chains.parquet", items=folder / "items.parquet", out=folder / "select")
    return folder / "select"


def test_a_chain_that_holds_a_benchmark_item_makes_way_for_the_next_best_of_its_question(tmp_path):
    chains = with_texts(make_scored(*CHAINS), ["What is 3 + 4?"] * 5, [LEAKY, *[PLAIN] * 4])

    out = run_select(tmp_path, chains, make_items(ITEM_TEXT), SelectParams())

    assert read_table(out / "kept.parquet", SAMPLE).select("rank", "chain_id").rows() == [
        (1, "c_c"),
        (2, "c_b"),
        (3, "c_e"),
    ]
    leak = pl.read_parquet(out / "leaks.parquet").row(0, named=True)
    assert leak == {
        "chain_id": "c_a",
        "question_id": "q_1",
        "rule": "ngram",
        "benchmark": "exam",
        "item_id": item_id("exam", ITEM_TEXT),
        "match": r"y \) be real numbers with \( x^{2} + y^{2} = 25 \) and \(xy = 12",
        "share": leak["share"],
        "drops": True,
    }
    rejected = pl.read_parquet(out / "rejected.parquet").filter(reason="benchmark_leak").row(0, named=True)
    assert (rejected["chain_id"], rejected["rank"]) == ("c_a", None)
    told = {name: leak[name] for name in ("benchmark", "item_id", "rule", "match")}
    assert json.loads(rejected["evidence"]) == told | {"share": round(leak["share"], 3)}
    manifest = manifest_of(out)
    assert manifest["rejected"] == {"benchmark_leak": 1, "not_best_of_question": 1}
    assert manifest["facts"]["leaks"]["ngram"] == {
        "drops": True,
        "chains": 1,
        "only_by_this_rule": 1,
        "benchmarks": {"exam": 1},
    }


def test_a_chain_may_quote_its_own_question_however_much_of_an_item_that_shares():
    chains = make_scored(("c_1", "q_1", 0.9), ("c_2", "q_1", 0.8), ("c_3", "q_2", 0.7))
    quote = f"We are asked: {TWIN} " + PLAIN
    chains = with_texts(chains, [TWIN, TWIN, "What is 3 + 4?"], [quote, quote + LEAKY, quote])

    leaks = find_leaks(chains, make_items(ITEM_TEXT), (OverlapRule(name="any"),))

    # The second adds the rest of the item to the quotation; the third quotes a question that is not its own.
    assert leaks["chain_id"].to_list() == ["c_2", "c_3"]
    assert leaks["match"].to_list() == [
        r"+ y^{2} = 25 \) and \(xy = 12",
        "Let $x$ and $y$ be real numbers with $x^2+y^2=25$ and",
    ]


def test_without_a_leak_nothing_changes(tmp_path):
    chains = with_texts(make_scored(*CHAINS), ["What is 3 + 4?"] * 5, [PLAIN] * 5)

    out = run_select(tmp_path, chains, make_items(ITEM_TEXT, "What is 3 + 4?"), SelectParams())

    decided = select_samples(chains, SelectParams())
    assert pl.read_parquet(out / "kept.parquet").equals(
        decided.filter(pl.col("reason").is_null()).select(SAMPLE.names())
    )
    assert pl.read_parquet(out / "rejected.parquet").equals(decided.filter(pl.col("reason").is_not_null()))
    assert pl.read_parquet_schema(out / "leaks.parquet") == LEAK
    assert manifest_of(out)["facts"]["leaks"]["ngram"]["chains"] == 0


def test_words_that_a_chain_holds_by_chance_are_no_leak():
    short, half = r"Evaluate $(1+2i)6-3i$.", "Let $x$ and $y$ be real numbers with $x^2+y^2=25$."
    chains = make_scored(("c_1", "q_1", 0.9), ("c_2", "q_1", 0.8), ("c_3", "q_1", 0.7))
    chains = with_texts(chains, ["What?"] * 3, [f"{PLAIN} Then (1+2i)6 - 3i is 9i + 6.", half + PLAIN * 3, short])

    leaks = find_leaks(chains, make_items(short, ITEM_TEXT), SelectParams().leaks)

    assert leaks.select("chain_id", "rule").rows() == [("c_3", "whole")]


def test_a_rule_may_only_report_and_without_rules_nothing_is_looked_for(tmp_path):
    chains = with_texts(make_scored(*CHAINS), ["What is 3 + 4?"] * 5, [LEAKY] * 5)
    told = SelectParams(leaks=(OverlapRule(name="ngram", drops=False),))

    reported = run_select(tmp_path, chains, make_items(ITEM_TEXT), told)
    assert pl.read_parquet(reported / "kept.parquet")["chain_id"].to_list() == ["c_a", "c_c", "c_e"]
    assert pl.read_parquet(reported / "leaks.parquet")["drops"].to_list() == [False] * 5
    ignored = run_select(tmp_path, chains, make_items(ITEM_TEXT), SelectParams(leaks=()))
    assert pl.read_parquet(ignored / "kept.parquet")["chain_id"].to_list() == ["c_a", "c_c", "c_e"]
    assert pl.read_parquet(ignored / "leaks.parquet").equals(LEAK.to_frame())


def test_when_every_chain_leaks_the_reason_is_reported(tmp_path):
    chains = with_texts(make_scored(*CHAINS), ["What is 3 + 4?"] * 5, [LEAKY] * 5)
    with pytest.raises(LimoError, match=r"select: no row is left of 5 \(5 benchmark_leak\)"):
        run_select(tmp_path, chains, make_items(ITEM_TEXT), SelectParams())


def test_leak_rules_have_different_names():
    rule = {"name": "ngram"}
    assert section_errors("select", {"leaks": [rule, rule]}, SelectParams) == [
        "select.leaks: rules need different names, and `whole` is taken; found ngram, ngram"
    ]


def test_too_few_are_all_kept_and_the_shortfall_is_reported(tmp_path):
    out = run_select(tmp_path, make_scored(*CHAINS), make_items(ITEM_TEXT), SelectParams(count=10))
    manifest = manifest_of(out)
    assert (manifest["taken"], manifest["kept"]) == (5, 3)
    assert manifest["rejected"] == {"not_best_of_question": 2}
    assert manifest["facts"]["short_by"] == 7
    assert read_table(out / "kept.parquet", SAMPLE)["rank"].to_list() == [1, 2, 3]


def test_a_chain_that_is_there_twice_is_named(tmp_path):
    with pytest.raises(LimoError, match="chain c_a is there twice"):
        run_select(tmp_path, make_scored(CHAINS[0], CHAINS[0]), make_items(ITEM_TEXT), SelectParams())
