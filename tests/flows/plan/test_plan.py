"""`limo plan` as its user meets it: what it prints, its exit code, and one line for each error."""

import json
import sys

import pytest

from flows.cli import main


@pytest.fixture
def plan(monkeypatch, capsys):
    """Run the command; gives the exit code and what it printed."""

    def run(*options):
        monkeypatch.setattr(sys, "argv", ["limo", "plan", *options])
        with pytest.raises(SystemExit) as end:
            main()
        return end.value.code or 0, *capsys.readouterr()

    return run


def test_the_papers_recipe_fits_eight_h200_and_no_eight_h100(plan):
    code, shown, _ = plan("limo-v2", "--gpus", "8xH200", "--json")
    assert code == 0
    stages = {stage["name"]: stage for stage in json.loads(shown)["stages"]}
    assert stages["train"]["misfits"] == []
    assert stages["train"]["hours"] > 0
    code, shown, _ = plan("limo-v2", "--gpus", "8xH100")
    assert code == 0
    assert "Does not fit: train (base)" in shown
    assert "would make train (base) fit" in shown


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("nope", "--gpus", "8xH200"), "nope.yaml: no such profile"),
        (("limo-v2", "--gpus", "8H200"), "--gpus 8H200: give a number, an x and a kind"),
        (("limo-v2", "--gpus", "8xZ9"), "no kind `Z9`"),
    ],
)
def test_an_error_is_one_line(plan, options, message):
    code, _, error = plan(*options)
    assert code == 2
    assert message in error
    assert len(error.strip().splitlines()) == 1
