import json

from benchmarks.grading_suites import Counts, count_suite, table

ROWS = [
    {"gold": "7", "answer": "7", "correct": True},
    {"gold": "7", "answer": "8", "correct": False},
    {"gold": "7", "response": "so it is \\boxed{7}", "correct": False},
    {"gold": "7", "response": "so it is \\boxed{8}", "correct": True},
    {"gold": "B", "answer": "2x", "kind": "choice", "correct": False},
]


def test_a_suite_is_counted_by_its_labels(tmp_path, capsys):
    path = tmp_path / "made.jsonl"
    path.write_text("\n".join(map(json.dumps, ROWS)) + "\n", encoding="utf-8")
    found = count_suite(path, show=True)
    assert (found.name, found.pairs) == ("made", 5)
    assert found.ours == Counts(right=2, false_positives=1, false_negatives=1, ungraded=1)
    assert found.theirs == Counts(right=3, false_positives=1, false_negatives=1, ungraded=0)
    assert capsys.readouterr().out.count("made: ") == 3
    assert table([found, found]).splitlines()[-1].split()[:2] == ["all", "10"]
