"""Which chains an arm takes: by group, by rule, by seed; the same for the same arguments whatever else is there."""

import polars as pl
import pytest

from tasks.ablation.arm import select_samples
from tasks.ablation.params import AblationParams, ArmParams
from tasks.core.errors import LimoError
from tasks.records.question import BANDED
from tasks.records.response import SAMPLE, SCORED

ABLATION = AblationParams(
    pool_share=1.0,
    modulus=100,
    levels={"simple": ("1", "2"), "advanced": ("8",)},
    accuracy_over=("x",),
    questions=({"name": "q", "asks": "?", "paper": "", "arms": {"a": "A"}, "contrasts": [("a", "a")]},),
)
TEXTS = ("47+8=55", "47+8=54 and on and on", "no equation", "1+1=2, 2+2=4", "5*5=25. 1+1=3", "nothing")


def pool(questions=12, chains=6):
    """Question k is solved k times of 32, of level 1 or 8 in turn; chain j has quality j/10 and 10 (6 - j) tokens."""
    asked = [
        {"question_id": f"q_{k}", "source": "s", "question": f"{k}?", "answer": "1", "level": "18"[k % 2], "origin": ""}
        | {"domain": None, "solved": k, "sampled": 32}
        for k in range(questions)
    ]
    scored = [
        {"chain_id": f"c_{k}_{j}", "question_id": f"q_{k}", "text": TEXTS[j], "n_tokens": 10 * (6 - j)}
        | {"quality": j / 10 + k / 1000}
        for k in range(questions)
        for j in range(chains)
    ]
    full = [dict.fromkeys(SCORED.names()) | row for row in scored]
    return pl.DataFrame(full, schema=SCORED), pl.DataFrame(asked, schema=BANDED)


def take(seed=1, ablation=ABLATION, given=None, **arm):
    return select_samples(*(given or pool()), ArmParams(**arm), ablation, seed, "mine")


def ids(samples):
    return samples["chain_id"].to_list()


def test_the_band_by_rank_with_the_best_chain_of_each():
    samples = take(questions="band", chain="best", rank="best", count=3)
    assert ids(samples) == ["c_3_5", "c_2_5", "c_1_5"]
    assert samples.columns == [*SAMPLE, "equations"]
    assert samples["rank"].to_list() == [1, 2, 3]


@pytest.mark.parametrize(
    ("chain", "number"), [("best", 5), ("worst", 0), ("longest", 0), ("equations", 3), ("level-1", 0), ("level-5", 5)]
)
def test_each_rule_takes_its_chain(chain, number):
    samples = take(questions="advanced", chain=chain, count=4)
    assert {name.split("_")[2] for name in ids(samples)} == {str(number)}


def test_levels_are_evenly_spaced_and_of_the_same_questions():
    picked = [take(questions="all", chain=f"level-{level}", count=5) for level in range(1, 6)]
    assert len({tuple(samples["question_id"].to_list()) for samples in picked}) == 1
    means = [samples["quality"].mean() for samples in picked]
    assert means == sorted(means)
    assert len(set(means)) == 5


def test_a_question_with_too_few_chains_has_no_levels():
    with pytest.raises(LimoError, match="asks for 1 samples of group all, seed 1 has 0"):
        take(given=pool(chains=4), questions="all", chain="level-3", count=1)


def test_questions_with_few_chains_are_left_out_on_demand():
    chains, questions = pool()
    chains = chains.filter(~((pl.col("question_id") == "q_3") & pl.col("chain_id").str.ends_with("0")))
    samples = take(given=(chains, questions), questions="band", chain="best", count=2, min_chains=6)
    assert set(samples["question_id"]) == {"q_1", "q_2"}


def test_several_chains_of_a_question_come_after_one_of_each():
    samples = take(questions="all", chain="worst", rank="worst", count=15, chains_per_question=2)
    assert samples["question_id"].to_list()[:12] == [f"q_{k}" for k in range(12)]
    assert ids(samples)[12:] == ["c_0_1", "c_1_1", "c_2_1"]


def test_seeds_see_other_parts_of_the_pool_and_arms_the_same():
    part = ABLATION.model_copy(update={"pool_share": 0.5})
    seen = {
        (seed, chain): set(take(seed, part, questions="all", chain=chain, count=3, rank="best")["question_id"])
        for seed in (1, 3)
        for chain in ("best", "level-5")
    }
    assert seen[1, "best"] == seen[1, "level-5"]
    assert seen[1, "best"] != seen[3, "best"]


def test_a_draw_does_not_hang_on_the_other_questions():
    chains, questions = pool(questions=40)
    few = take(given=(chains, questions.head(20)), questions="all", chain="random", count=8)
    many = take(given=(chains, questions), questions="all", chain="random", count=40)
    order = [name for name in ids(many) if int(name.split("_")[1]) < 20]
    assert order[:8] == ids(few)


def test_an_unknown_group_is_one_line():
    with pytest.raises(LimoError, match=r"arms.mine.questions: no group `odd`; there are all, band, simple, advanced"):
        take(questions="odd", count=1)
