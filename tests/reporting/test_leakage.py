import json

import polars as pl
import pytest

from tasks.core.errors import LimoError
from tasks.records.question import CLUSTER, LEAK
from tasks.reporting.leakage import RuleHits, clusters, leak_rules, leakage, question_rules
from tests.artifacts import write_run
from tests.builders import manifest_file


@pytest.fixture
def artifacts(tmp_path):
    return write_run(tmp_path / "artifacts")


def test_rules_have_what_they_find_in_which_benchmark_and_whether_they_drop(artifacts):
    found = question_rules(artifacts)
    assert found.benchmarks == ["aime24", "sums"]
    assert found.rules == [
        RuleHits("whole", True, 0, 0, {}),
        RuleHits("ngram", True, 1, 0, {"sums": 1}),
        RuleHits("containment", False, 2, 1, {"aime24": 1, "sums": 1}),
    ]


def test_a_chain_counts_once_for_each_rule_and_benchmark(artifacts):
    rows = [
        ("c_1", "ngram", "sums", "b_1", True),
        ("c_1", "ngram", "sums", "b_2", True),
        ("c_1", "ngram", "aime24", "b_3", True),
        ("c_1", "containment", "sums", "b_1", False),
        ("c_2", "containment", "sums", "b_1", False),
    ]
    table = pl.DataFrame(rows, ["chain_id", "rule", "benchmark", "item_id", "drops"], orient="row")
    table = table.with_columns(question_id=pl.lit("q_1"), match=pl.lit("x"), share=pl.lit(0.5))
    table.select(LEAK.names()).write_parquet(artifacts / "select" / "leaks.parquet")
    assert leak_rules(artifacts).rules == [
        RuleHits("ngram", True, 1, 0, {"aime24": 1, "sums": 1}),
        RuleHits("containment", False, 2, 1, {"sums": 2}),
    ]


def test_clusters_are_counted_and_the_ten_largest_shown(artifacts):
    kept = pl.read_parquet(artifacts / "clean" / "kept.parquet")
    rows = []
    for number, size in enumerate([2, 5, *([3] * 11)]):
        first = kept["question_id"][number]
        rows += [
            (f"k_{number:02}", f"{first}-{place}" if place else first, first, "near", 0.9, "1", place != 4)
            for place in range(size)
        ]
    pl.DataFrame(rows, CLUSTER, orient="row").write_parquet(artifacts / "clean" / "clusters.parquet")
    found = clusters(artifacts)
    assert (found.clusters, found.members, found.disagreeing) == (13, 40, 1)
    assert [line.cluster_id for line in found.largest] == ["k_01", *(f"k_{number:02}" for number in range(2, 11))]
    assert found.largest[0] == ("k_01", kept["question_id"][1], "What is 1 + 0?", 5, 1)


def test_no_cluster_is_a_table_without_rows(artifacts):
    pl.DataFrame(schema=CLUSTER).write_parquet(artifacts / "clean" / "clusters.parquet")
    assert clusters(artifacts) == (0, 0, 0, [])


def test_each_piece_is_left_out_alone(artifacts):
    assert None not in leakage(artifacts).values()
    (artifacts / "clean" / "clusters.parquet").unlink()
    path = manifest_file(artifacts / "decontaminate")
    manifest = json.loads(path.read_text())
    del manifest["facts"]["rules"]
    path.write_text(json.dumps(manifest))
    (artifacts / "select" / "leaks.parquet").unlink()
    left = leakage(artifacts)
    assert [name for name, piece in left.items() if piece] == ["sources", "any"]


def test_a_table_of_clusters_without_a_column_is_one_clear_line(artifacts):
    path = artifacts / "clean" / "clusters.parquet"
    pl.read_parquet(path).drop("agrees").write_parquet(path)
    with pytest.raises(
        LimoError, match=r"clean/clusters.parquet: wrong columns: agrees missing, not Boolean; rerun the stage"
    ):
        clusters(artifacts)
