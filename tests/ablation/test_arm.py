"""A real arm: selected, trained and evaluated with the models that ship, then resumed from what it left."""

import random

import polars as pl
import pytest

from tasks.ablation.arm import run
from tasks.ablation.params import AblationParams, ArmsParams, ProtocolParams
from tasks.ablation.tables import ARM_SEED, ARM_VERDICT
from tasks.core.errors import LimoError
from tasks.core.params import ChatParams
from tasks.engines.params import EngineParams
from tasks.families import problems
from tasks.records.benchmark import ITEM
from tasks.records.model import describe
from tasks.records.question import BANDED
from tasks.records.response import SCORED
from tasks.shipped import corpus
from tasks.training.recipe import Recipe
from tests.builders import SHIPPED, manifest_of, write_models

pytestmark = pytest.mark.slow(minutes=1)

ABLATION = AblationParams(
    seeds=(1, 2),
    pool_share=1.0,
    accuracy_over=("buttons",),
    questions=({"name": "q", "asks": "?", "paper": "", "arms": {"few": "few"}, "contrasts": [("few", "few")]},),
)
ARMS = ArmsParams(few={"questions": "all", "chain": "best", "rank": "best", "count": 4}, before={"count": 0})
RECIPE = Recipe(
    steps=3,
    batch_tokens=300,
    pack_tokens=1024,
    lr=1e-3,
    max_length=1024,
    processes=1,
    device="cpu",
    export_dtype="float32",
)


class Project:
    """A folder with eight questions, a chain of each, and three items."""

    def __init__(self, root):
        self.root = root
        rng = random.Random(1)
        pool = list(problems("buttons", 8, 1, [2, 3], "pool"))
        items = list(problems("buttons", 3, 1, [2], "eval"))
        asked = [
            {"question_id": f"q_{n}", "question": each.question, "answer": each.answer, "level": str(each.level)}
            | {"source": "buttons", "domain": "buttons", "origin": "", "solved": 1, "sampled": 32}
            for n, each in enumerate(pool)
        ]
        written = [
            dict.fromkeys(SCORED.names())
            | {"chain_id": f"c_{n}", "question_id": f"q_{n}", "question": each.question, "answer": each.answer}
            | {"text": corpus.chain(rng, each, "medium"), "n_tokens": 40, "quality": n / 10}
            for n, each in enumerate(pool)
        ]
        item = {"benchmark": "buttons", "kind": "auto", "language": "en", "origin": ""}
        shown = [
            item | {"item_id": f"i_{n}", "question": each.question, "gold": each.answer} for n, each in enumerate(items)
        ]
        pl.DataFrame(asked, schema=BANDED).write_parquet(root / "questions.parquet")
        pl.DataFrame(written, schema=SCORED).write_parquet(root / "chains.parquet")
        pl.DataFrame(shown, schema=ITEM).write_parquet(root / "items.parquet")
        write_models(root / "models.json", describe(SHIPPED / "base", "base", "shipped:base"))

    def run(self, name):
        files = {each: self.root / f"{each}.parquet" for each in ("chains", "questions", "items")}
        engine = EngineParams(dtype="bfloat16", max_model_len=512, max_num_seqs=16, kv_cache_gib=0.2)
        protocol = ProtocolParams(sampling={"temperature": 0, "max_tokens": 64})
        run(
            *(ARMS, ABLATION, RECIPE, protocol, engine, ChatParams()),
            **files,
            models=self.root / "models.json",
            ledger=self.root / "ledger",
            work=self.root / "work",
            out=self.root / "arms" / name,
        )
        return self.root / "arms" / name


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    return Project(tmp_path_factory.mktemp("arm"))


@pytest.fixture(scope="module")
def few(project):
    return project.run("few")


def test_every_seed_has_a_model_of_its_own_and_a_verdict_for_every_item(few):
    verdicts, seeds = pl.read_parquet(few / "verdicts.parquet"), pl.read_parquet(few / "seeds.parquet")
    assert verdicts.schema == ARM_VERDICT
    assert seeds.schema == ARM_SEED
    assert verdicts.group_by("seed").len().sort("seed").rows() == [(1, 3), (2, 3)]
    assert seeds["model_id"].n_unique() == 2
    assert set(verdicts["model_id"]) == set(seeds["model_id"])
    assert seeds["steps"].to_list() == [3, 3]
    assert all(900 <= tokens < 1000 for tokens in seeds["loss_tokens"])
    assert seeds["quality"].to_list() == pytest.approx([0.55, 0.55])


def test_samples_name_the_chains_of_each_seed(few):
    samples = pl.read_parquet(few / "samples.parquet")
    assert samples.columns[:2] == ["arm", "seed"]
    # Ranked by quality, the best first, whatever the seed: the whole pool is seen and chains do not differ.
    assert samples["chain_id"].to_list() == [f"c_{n}" for n in (7, 6, 5, 4)] * 2
    assert manifest_of(few)["taken"] == samples.height == 8


def test_a_second_run_trains_and_samples_nothing(project, few, monkeypatch):
    def refuse(*_arguments, **_named):
        raise AssertionError("started again")

    before = (few / "verdicts.parquet").read_bytes()
    monkeypatch.setattr("tasks.ablation.arm.launch", refuse)
    monkeypatch.setattr("tasks.sampling.sampler.open_engine", refuse)
    assert (project.run("few") / "verdicts.parquet").read_bytes() == before


def test_an_untrained_arm_is_the_base_as_it_is(project, few):
    folder = project.run("before")
    seeds = pl.read_parquet(folder / "seeds.parquet")
    assert (seeds["seed"].to_list(), seeds["samples"].to_list(), seeds["quality"].to_list()) == ([0], [0], [None])
    assert pl.read_parquet(folder / "samples.parquet").is_empty()
    assert pl.read_parquet(folder / "verdicts.parquet")["seed"].to_list() == [0, 0, 0]


def test_an_arm_that_params_do_not_have_is_one_line(project):
    with pytest.raises(LimoError, match=r"arms\.none: no such arm in the params file; there are few, before"):
        project.run("none")
