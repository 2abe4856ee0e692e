import json

import polars as pl
import pytest

from tasks.ablation.compare import run
from tasks.ablation.page import console
from tasks.ablation.params import ArmsParams
from tasks.core.errors import LimoError
from tests.ablation.arms import make_ablation, make_question, write_arm
from tests.builders import manifest_file, manifest_of

HOSTILE = "<script>alert(1)</script>{{ 7 * 7 }} | a"
LADDER = {"q1": "L1", "q3": "L3", "q5": "L5"}
ABLATION = make_ablation(
    make_question(LADDER, [("q5", "q1")]),
    make_question({"before": "before", "q5": HOSTILE}, [("q5", "before"), ("q3", "q5")], name="two", asks=HOSTILE),
).model_copy(update={"predictors": ("q1", "q3", "q5")})
ARMS = ArmsParams(few={"count": 4}, large={"base": "large"})


def write_ladder(folder, **fields):
    for name, skill in (("q1", 0.1), ("q3", 0.4), ("q5", 0.8)):
        write_arm(folder, name, skill=skill, quality=skill, **fields)
    write_arm(folder, "before", skill=0.0, seeds=(0,), samples=0)
    write_arm(folder, "few", skill=0.2, samples=4)
    write_arm(folder, "large", skill=0.9, base="large")


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    root = tmp_path_factory.mktemp("compared")
    write_ladder(root / "arms")
    run(ABLATION, ARMS, folder=root / "arms", out=root / "compare")
    return root / "compare"


def test_everything_is_written_and_the_manifest_counts_verdicts(out):
    names = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}
    assert names == {
        *("arms.parquet", "contrasts.json", "predictors.json", "table.md", "report.html", "metrics.json"),
        *("figures/quality.svg", "figures/two.svg"),
    }
    manifest = manifest_of(out)
    assert manifest["taken"] == manifest["kept"] == (5 * 3 + 1) * 60
    assert manifest["facts"]["outcomes"] == {"quality": "holds", "two": "does not hold"}


def test_an_arm_is_a_row(out):
    arms = pl.read_parquet(out / "arms.parquet")
    assert arms["arm"].to_list() == ["q1", "q3", "q5", "before", "few", "large"]
    row = arms.row(by_predicate=pl.col("arm") == "q5", named=True)
    assert row["accuracy"] == pytest.approx((row["accuracy/buttons-hard"] + row["accuracy/days-hard"]) / 2)
    assert row["elsewhere"] == row["accuracy/rounds-hard"]
    assert row["accuracy_low"] < row["accuracy"] < row["accuracy_high"]
    assert (row["seeds"], row["items"], row["samples"], row["passes"], row["steps"]) == (3, 40, 48, 10, 64)
    assert row["truncated"] == pytest.approx(1 / 20)


def test_an_untrained_arm_has_its_accuracy_and_no_quality(out):
    row = pl.read_parquet(out / "arms.parquet").row(by_predicate=pl.col("arm") == "before", named=True)
    assert (row["accuracy"], row["accuracy_low"], row["samples"], row["quality"]) == (0, 0, 0, None)
    assert 0.05 < row["accuracy_high"] < 0.1


def test_contrasts_have_their_numbers_and_outcomes(out):
    quality, two = json.loads((out / "contrasts.json").read_text())
    (found,) = quality["contrasts"]
    assert quality["outcome"] == found["outcome"] == "holds"
    assert 0.5 < found["low"] < found["value"] < found["high"]
    assert [each["outcome"] for each in two["contrasts"]] == ["holds", "does not hold"]
    assert two["contrasts"][1]["labels"] == ["q3", HOSTILE]


def test_predictors_are_of_the_arms_that_params_name(out):
    found = json.loads((out / "predictors.json").read_text())
    assert next(iter(found)) == "quality"
    assert (found["quality"]["points"], found["quality"]["arms"]) == (9, 3)
    assert found["quality"]["value"] > 0.8
    assert found["equations"]["value"] is None


def test_metrics_are_numbers(out):
    found = json.loads((out / "metrics.json").read_text())
    assert set(found["accuracy"]) == {"q1", "q3", "q5", "before", "few", "large"}
    assert found["difference"]["quality"]["q5 - q1"] == pytest.approx(found["accuracy"]["q5"] - found["accuracy"]["q1"])


def test_the_page_and_the_table_escape_hostile_words(out):
    page, table = (out / "report.html").read_text(), (out / "table.md").read_text()
    assert "<script" not in page + table + (out / "figures" / "two.svg").read_text()
    assert page.count("<svg") == 2
    assert "{{ 7 * 7 }}" in page
    widths = {line.replace("\\|", "").count("|") for line in table.splitlines() if "&lt;script" in line}
    assert widths == {6}


def test_the_console_prints_every_question(out):
    first = console(out).split("\n\n")[1].splitlines()
    assert first[0] == "Does it rise?"
    assert [line.split()[0] for line in first[1:4]] == ["L1", "L3", "L5"]
    assert first[4].startswith("  L5 - L1: +")
    assert first[5] == "  HOLDS (paper: rises)"


def test_the_console_names_the_stage_that_was_not_run(tmp_path):
    with pytest.raises(LimoError, match=r"contrasts\.json: no such file"):
        console(tmp_path)


def refuse(arms, ablation=ABLATION, others=()):
    with pytest.raises(LimoError) as caught:
        run(ablation, ArmsParams(**{name: {} for name in others}), folder=arms, out=arms.parent / "compare")
    assert "\n" not in str(caught.value)
    assert not (arms.parent / "compare").exists()
    return str(caught.value)


def test_missing_arms_are_all_named_with_their_question(tmp_path):
    write_arm(tmp_path / "arms", "q1")
    said = refuse(tmp_path / "arms")
    assert "`q3` (question `quality`), `q5` (question `quality`), `before` (question `two`)" in said
    assert "limo ablate" in said


def test_an_arm_without_its_manifest_is_missing(tmp_path):
    write_ladder(tmp_path / "arms")
    manifest_file(tmp_path / "arms" / "q3").unlink()
    assert "`q3`" in refuse(tmp_path / "arms")


def test_a_folder_of_an_earlier_arm_is_left_alone(tmp_path):
    write_ladder(tmp_path / "arms")
    write_arm(tmp_path / "arms", "stale", items=19)
    run(ABLATION, ARMS, folder=tmp_path / "arms", out=tmp_path / "compare")
    assert "stale" not in pl.read_parquet(tmp_path / "compare" / "arms.parquet")["arm"].to_list()


def test_other_items_are_refused(tmp_path):
    write_ladder(tmp_path / "arms")
    write_arm(tmp_path / "arms", "stale", items=19)
    assert "stale: seed 1 has answered other items than the arm `q1`" in refuse(tmp_path / "arms", others=["stale"])


def test_other_seeds_are_refused(tmp_path):
    write_ladder(tmp_path / "arms")
    write_arm(tmp_path / "arms", "short", seeds=(1, 2))
    assert "short: has the seeds [1, 2], not ablation.seeds [1, 2, 3]" in refuse(tmp_path / "arms", others=["short"])


def test_arms_that_were_not_trained_alike_are_refused(tmp_path):
    write_ladder(tmp_path / "arms")
    path = tmp_path / "arms" / "q3" / "seeds.parquet"
    seeds = pl.read_parquet(path)
    seeds.with_columns(loss_tokens=pl.lit(140_000, pl.Int64)).write_parquet(path)
    said = refuse(tmp_path / "arms")
    assert "q3: seed 1 was trained for 64 steps and 140000 tokens, arm `q1` for 64 and 150001" in said


def test_a_benchmark_that_no_arm_answered_is_refused(tmp_path):
    write_ladder(tmp_path / "arms")
    ablation = ABLATION.model_copy(update={"accuracy_over": ("sums",)})
    assert "no verdicts on sums; arms have buttons-hard, days-hard, rounds-hard" in refuse(tmp_path / "arms", ablation)


def test_without_other_benchmarks_nothing_is_out_of_distribution(tmp_path):
    write_ladder(tmp_path / "arms")
    ablation = ABLATION.model_copy(update={"accuracy_over": ("buttons-hard", "days-hard", "rounds-hard")})
    run(ablation, ARMS, folder=tmp_path / "arms", out=tmp_path / "compare")
    arms = pl.read_parquet(tmp_path / "compare" / "arms.parquet")
    assert arms["elsewhere"].null_count() == arms.height
    assert "out of distribution." not in (tmp_path / "compare" / "report.html").read_text()
