"""What the arms say: each question's differences with their intervals, and what predicts accuracy.

Reads the folder of every arm; writes `arms.parquet`, `contrasts.json` and `predictors.json`, and the same to look at:
`table.md`, a figure for each question, and `report.html`. It is where a claim of the paper holds here, does not, or
stays undecided.
"""

import time
from pathlib import Path
from typing import Any

from tasks.ablation.answers import Compared, compare_arms
from tasks.ablation.page import figure, markdown, render_page
from tasks.ablation.params import AblationParams, ArmsParams
from tasks.ablation.results import read_arms
from tasks.core.files import publish, write_json
from tasks.core.stage import Stage, stage_main, write_manifest


def metrics(compared: Compared) -> dict[str, Any]:
    """Accuracy of each arm and the difference of each contrast, as `dvc metrics` shows them."""
    rows = compared.arms.to_dicts()
    return {
        "accuracy": {row["arm"]: row["accuracy"] for row in rows},
        "out_of_distribution": {row["arm"]: row["elsewhere"] for row in rows if row["elsewhere"] is not None},
        "difference": {
            answer.name: {f"{each.better} - {each.worse}": each.value for each in answer.contrasts}
            for answer in compared.answers
        },
    }


def write_compared(part: Path, compared: Compared, ablation: AblationParams) -> None:
    """Everything but the manifest."""
    compared.arms.write_parquet(part / "arms.parquet")
    write_json(part / "contrasts.json", [answer.model_dump() for answer in compared.answers])
    write_json(part / "predictors.json", {trait: found._asdict() for trait, found in compared.predictors})
    write_json(part / "metrics.json", metrics(compared))
    (part / "table.md").write_text(markdown(compared), encoding="utf-8")
    (part / "report.html").write_text(render_page(compared, ablation), encoding="utf-8")
    (part / "figures").mkdir()
    for answer in compared.answers:
        (part / "figures" / f"{answer.name}.svg").write_text(figure(answer), encoding="utf-8")


def run(ablation: AblationParams, arms: ArmsParams, *, folder: Path, out: Path) -> None:
    """Compare the arms that params name; each has its own folder in `folder`."""
    started = time.monotonic()
    found = read_arms(folder, arms.named, ablation)
    compared = compare_arms(found, ablation)
    taken = sum(arm.verdicts.height for arm in found.values())
    with publish(out) as part:
        write_compared(part, compared, ablation)
        facts = {"arms": len(found), "outcomes": {answer.name: answer.outcome for answer in compared.answers}}
        facts |= {"seconds": round(time.monotonic() - started, 2)}
        write_manifest(part, Stage("compare", "verdicts"), taken=taken, kept=taken, facts=facts)


if __name__ == "__main__":
    stage_main(run)
