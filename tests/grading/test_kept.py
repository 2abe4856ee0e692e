import pytest

from tasks.grading import grader
from tasks.grading.grader import GRADER, Kept, Key, Pair, grade_many

SYMBOLIC = Pair("\\int x", "\\boxed{\\int x dx}")
ONE, TWO = Key("a", "b", "auto"), Key("\ud800", "\n{", '{"kind":"set"}')


def test_what_one_run_keeps_the_next_finds(tmp_path):
    kept = Kept(tmp_path / "verdicts", "g1")
    assert kept.get(ONE) is None
    kept.add({})
    assert not (tmp_path / "verdicts").exists()
    kept.add({ONE: "correct"})
    kept.add({ONE: "correct", TWO: "incorrect"})
    again = Kept(tmp_path / "verdicts", "g1")
    assert (again.get(ONE), again.get(TWO)) == ("correct", "incorrect")
    assert Kept(tmp_path / "verdicts", "g2").get(ONE) is None


@pytest.mark.parametrize("torn", [b'["a", "c", "au', b"\xff\xfe", b'["a"]', b"7"])
def test_a_torn_line_costs_only_itself(tmp_path, torn):
    kept = Kept(tmp_path, "g1")
    kept.add({ONE: "correct"})
    (file,) = tmp_path.iterdir()
    file.write_bytes(file.read_bytes() + torn)
    kept.add({TWO: "incorrect"})
    again = Kept(tmp_path, "g1")
    assert (again.get(ONE), again.get(TWO)) == ("correct", "incorrect")


def test_a_kept_verdict_spares_the_symbolic_check(tmp_path, monkeypatch):
    first = grade_many([SYMBOLIC], kept=Kept(tmp_path, GRADER))
    assert first[0].rule == "symbolic"
    monkeypatch.setattr(grader, "check_many", lambda *_: pytest.fail("asked again"))
    monkeypatch.setattr(grader, "_cache", {})
    assert grade_many([SYMBOLIC], kept=Kept(tmp_path, GRADER)) == first
