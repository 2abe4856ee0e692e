import json
import shutil

import polars as pl
import pytest

from flows.sources import count_errors, table_counts
from tasks.core.errors import LimoError
from tasks.reporting.sources import Counts, manifest_counts
from tests.artifacts import write_run
from tests.builders import manifest_file, manifest_of


@pytest.fixture(scope="module")
def artifacts(tmp_path_factory):
    return write_run(tmp_path_factory.mktemp("artifacts"))


@pytest.fixture
def changed(artifacts, tmp_path):
    return shutil.copytree(artifacts, tmp_path / "artifacts")


def test_every_filter_counts_each_source_by_reason(artifacts):
    filters = {each.stage: each.sources for each in table_counts(artifacts)}
    assert list(filters) == ["pull", "clean", "decontaminate", "screen", "band"]
    assert filters["pull"] == {"made": Counts(40, {}), "other": Counts(3, {"repeated_row": 1})}
    assert filters["clean"]["made"] == Counts(36, {"no_verifiable_answer": 4})
    assert filters["clean"]["other"] == Counts(0, {"answers_disagree": 1, "exact_duplicate": 1, "near_duplicate": 1})
    assert filters["decontaminate"] == {"made": Counts(35, {"benchmark_overlap": 1})}


def test_all_sources_together_are_the_manifests_totals(artifacts):
    for each in table_counts(artifacts):
        manifest = manifest_of(artifacts / each.stage)
        whole = each.total()
        assert (whole.taken, whole.kept, whole.rejected) == tuple(
            manifest[key] for key in ("taken", "kept", "rejected")
        )


def test_a_run_whose_numbers_add_up_has_no_error_and_its_manifests_state_the_same(artifacts):
    filters = table_counts(artifacts)
    assert count_errors(artifacts, filters) == []
    assert manifest_counts(artifacts) == filters


def test_a_question_lost_on_disk_is_reported_with_stage_and_source(changed):
    path = changed / "clean" / "kept.parquet"
    pl.read_parquet(path).tail(-1).write_parquet(path)
    found = count_errors(changed, table_counts(changed))
    assert found[0] == (
        "clean, source made: its manifest states 36 kept + 4 no_verifiable_answer,"
        " but its tables have 35 kept + 4 no_verifiable_answer"
    )
    assert "clean, source made: took 39, but pull kept 40; `dvc repro` brings clean up to date" in found
    assert (
        "decontaminate, source made: took 36, but clean kept 35; `dvc repro` brings decontaminate up to date" in found
    )
    assert len(found) == 3


def test_a_stage_that_is_older_than_the_one_before_is_reported(changed):
    for name in ("kept", "rejected"):
        path = changed / "pull" / f"{name}.parquet"
        table = pl.read_parquet(path)
        table.with_columns(source=pl.col("source").replace("other", "renamed")).write_parquet(path)
    found = count_errors(changed, table_counts(changed))
    assert "clean, source renamed: took 0, but pull kept 3; `dvc repro` brings clean up to date" in found
    assert "clean, source other: took 3, but pull kept 0; `dvc repro` brings clean up to date" in found


def test_a_manifest_whose_total_is_wrong_is_reported(changed):
    path = manifest_file(changed / "band")
    manifest = json.loads(path.read_text()) | {"taken": 99}
    del manifest["facts"]["sources"]
    path.write_text(json.dumps(manifest))
    assert count_errors(changed, table_counts(changed)) == [
        "band: 14 kept + 8 never_solved + 1 solved_too_often of 99 taken"
    ]


def test_only_the_filters_that_have_run_are_table_counts(changed):
    manifest_file(changed / "decontaminate").unlink()
    assert [each.stage for each in table_counts(changed)] == ["pull", "clean"]
    assert count_errors(changed, table_counts(changed)) == []


def test_nothing_has_run(tmp_path):
    with pytest.raises(LimoError, match="no filter has run yet; `dvc repro pull` is the first"):
        table_counts(tmp_path)


def test_a_table_that_is_gone_is_one_clear_line(changed):
    (changed / "screen" / "rejected.parquet").unlink()
    with pytest.raises(LimoError, match=r"screen/rejected.parquet: no such file"):
        table_counts(changed)
