import json
import re
from html.parser import HTMLParser
from pathlib import Path

import polars as pl
import pytest

from tasks.core.errors import LimoError
from tasks.core.files import publish
from tasks.core.stage import Stage, stage_entries, write_manifest
from tasks.report import ReportParams, run
from tests.artifacts import write_run
from tests.builders import manifest_file

VOID = {"meta", "br", "line", "circle", "path", "polyline"}


class Outline(HTMLParser):
    """Headings, and whether every element is closed in order."""

    def __init__(self):
        super().__init__()
        self.open, self.headings = [], []

    def handle_starttag(self, tag, attrs):
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] == "h2":
            self.headings.append(data.strip())


@pytest.fixture(scope="module")
def artifacts(tmp_path_factory):
    root = write_run(tmp_path_factory.mktemp("artifacts"))
    answers = pl.read_parquet(root / "answer" / "answers.parquet")
    hostile = "</pre><script>alert(1)</script>{{ 7 * 7 }}\\boxed{0}"
    answers.with_columns(text=pl.lit(hostile)).write_parquet(root / "answer" / "answers.parquet")
    run(ReportParams(title="A run & its report"), artifacts=root, out=root / "report")
    return root


@pytest.fixture(scope="module")
def page(artifacts):
    return (artifacts / "report" / "report.html").read_text()


def test_the_page_is_well_formed_with_all_its_sections(page):
    outline = Outline()
    outline.feed(page)
    assert outline.open == []
    assert outline.headings == [
        "Benchmarks",
        "Funnel",
        "Contamination and duplicates",
        "Difficulty",
        "Chain quality",
        "Training",
        "Length of answers",
        "A training sample, and where it came from",
        "One item, two answers",
        "Cost",
        "Models",
    ]


def test_text_of_models_is_escaped_and_never_evaluated(page):
    assert "<script" not in page
    assert "&lt;script&gt;alert(1)" in page
    assert "{{ 7 * 7 }}" in page
    assert "A run &amp; its report" in page


def test_nothing_is_fetched_from_elsewhere(page):
    assert not re.search(r"(src|href)\s*=|url\(|@import|https?://", page)


def test_the_numbers_are_those_of_the_stages(page, artifacts):
    assert "<b>85.0</b>" in page
    assert "[58.1, 95.2]" in page
    assert "63.3" in page
    assert "<b>22,000</b>" in page  # of the sampling stages; training's 600 were not sampled
    best = pl.read_parquet(artifacts / "select" / "kept.parquet").filter(rank=1)
    assert best["chain_id"][0] in page
    assert best["question_id"][0] in page


def test_what_is_drawn_is_there_as_csv_too(artifacts):
    tables = {path.stem: pl.read_csv(path) for path in (artifacts / "report").glob("*.csv")}
    assert sorted(tables) == ["difficulty", "funnel", "lengths", "quality", "scores"]
    assert tables["funnel"].columns == ["stage", "kept", "dropped"]
    assert (
        tables["quality"].group_by("figure", "group").agg(pl.col("share").sum())["share"].round(6).unique().item() == 1
    )


def test_rules_clusters_and_sources_are_in_their_section(page, artifacts):
    section = page.split("<h2>Contamination and duplicates</h2>")[1].split("</section>")[0]
    titles = re.findall(r"<h4>(.*?)</h4>", section)
    assert titles == [
        "Benchmark items in pool questions",
        "Benchmark items in training chains",
        "Duplicate questions",
        "By source",
    ]
    assert "3 clusters of 7 questions; 2 of these have another answer than the first of their cluster." in section
    assert section.count('<span class="chip drops">drops</span>') == 3
    kept = pl.read_parquet(artifacts / "clean" / "kept.parquet")["question_id"][1]
    assert f"<code>{kept}</code></td><td>What is 1 + 0?</td>" in section
    assert '<tr class="total"><td><b>all</b></td>' in section


def test_what_no_stage_wrote_is_left_out_of_the_page(tmp_path):
    artifacts = write_run(tmp_path)
    (artifacts / "clean" / "clusters.parquet").unlink()
    (artifacts / "select" / "leaks.parquet").unlink()
    for stage in ("pull", "clean", "decontaminate", "screen", "band"):
        path = manifest_file(artifacts / stage)
        path.write_text(json.dumps(json.loads(path.read_text()) | {"facts": {}}))
    run(ReportParams(), artifacts=artifacts, out=artifacts / "report")
    assert "Contamination" not in (artifacts / "report" / "report.html").read_text()


def test_a_long_text_is_cut_and_says_so(tmp_path):
    artifacts = write_run(tmp_path)
    answers = pl.read_parquet(artifacts / "answer" / "answers.parquet")
    answers.with_columns(text=pl.lit("y" * 500)).write_parquet(artifacts / "answer" / "answers.parquet")
    run(ReportParams(longest_text=100), artifacts=artifacts, out=artifacts / "report")
    page = (artifacts / "report" / "report.html").read_text()
    assert "400 more characters" in page
    assert "y" * 101 not in page


def test_a_missing_stage_is_named_and_nothing_is_written(tmp_path):
    artifacts = write_run(tmp_path)
    (artifacts / "score" / "chains.parquet").unlink()
    with pytest.raises(LimoError, match=r"score/chains.parquet: no such file"):
        run(ReportParams(), artifacts=artifacts, out=artifacts / "report")
    assert not (artifacts / "report").exists()


def test_the_funnel_gives_the_reasons_of_a_new_filter_in_words(tmp_path, monkeypatch):
    artifacts = write_run(tmp_path / "artifacts")
    entries = stage_entries()
    monkeypatch.chdir(tmp_path)
    Path("dvc.yaml").write_text(json.dumps({"stages": entries | {"brief": {}}}))
    words = {"too_long": "has more words than <max>", "never_met": "nothing met it"}
    filtered = Stage("brief", "questions", words)
    takes = artifacts / "clean" / "kept.parquet"
    with publish(artifacts / "brief") as part:
        write_manifest(part, filtered, takes=takes, taken=36, kept=35, rejected={"too_long": 1})
    run(ReportParams(), artifacts=artifacts, out=artifacts / "report")
    page = (artifacts / "report" / "report.html").read_text()
    line = page.split("<td><b>brief</b></td>")[1].split("</tr>")[0]
    assert '<span class="chip">1 too long</span> <small>has more words than &lt;max&gt;</small>' in line
    assert "nothing met it" not in line
    assert "brief,35,1" in (artifacts / "report" / "funnel.csv").read_text()
