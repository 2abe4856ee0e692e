from tasks.reporting.sources import Counts, source_funnel
from tests.artifacts import write_run


def test_every_source_has_its_funnel(tmp_path):
    found = source_funnel(write_run(tmp_path / "artifacts"))
    assert found.stages == ["pull", "clean", "decontaminate", "screen", "band"]
    assert found.rows["other"][:3] == [
        Counts(3, {"repeated_row": 1}),
        Counts(0, {"answers_disagree": 1, "exact_duplicate": 1, "near_duplicate": 1}),
        Counts(0, {}),
    ]
    assert [step.kept for step in found.all] == [43, 36, 35, 23, 14]
