"""Compare the arms: each question's differences with their intervals, and what predicts accuracy.

Reads the folder of every arm; writes `arms.parquet`, `contrasts.json` and `predictors.json`, and the same to look at:
`table.md`, a figure for each question, and `report.html`. Each says whether a claim of the paper holds here, does not,
or is undecided.
"""

from pathlib import Path
from typing import Any

from tasks.ablation.contrasts import Comparison, compare_arms
from tasks.ablation.page import figure, markdown, render_page
from tasks.ablation.params import AblationParams, ArmsParams
from tasks.ablation.tables import read_arms
from tasks.core.files import publish, write_json
from tasks.core.stage import Stage, stage_main, write_manifest


def metrics(compared: Comparison) -> dict[str, Any]:
    """Accuracy of each arm and the difference of each contrast, as `dvc metrics` shows them."""
    rows = compared.arms.to_dicts()
    return {
        "accuracy": {row["arm"]: row["accuracy"] for row in rows},
        "out_of_distribution": {row["arm"]: row["elsewhere"] for row in rows if row["elsewhere"] is not None},
        "difference": {
            finding.name: {f"{each.better} - {each.worse}": each.value for each in finding.contrasts}
            for finding in compared.findings
        },
    }


def write_comparison(part: Path, compared: Comparison, ablation: AblationParams) -> None:
    """Everything but the manifest."""
    compared.arms.write_parquet(part / "arms.parquet")
    write_json(part / "contrasts.json", [finding.model_dump() for finding in compared.findings])
    write_json(part / "predictors.json", {trait: found._asdict() for trait, found in compared.predictors})
    write_json(part / "metrics.json", metrics(compared))
    (part / "table.md").write_text(markdown(compared), encoding="utf-8")
    (part / "report.html").write_text(render_page(compared, ablation), encoding="utf-8")
    (part / "figures").mkdir()
    for finding in compared.findings:
        (part / "figures" / f"{finding.name}.svg").write_text(figure(finding), encoding="utf-8")


def run(ablation: AblationParams, arms: ArmsParams, *, folder: Path, out: Path) -> None:
    """Compare the arms that params name; each has its own folder in `folder`."""
    found = read_arms(folder, arms.named, ablation)
    compared = compare_arms(found, ablation)
    taken = sum(arm.verdicts.height for arm in found.values())
    with publish(out) as part:
        write_comparison(part, compared, ablation)
        facts = {"arms": len(found), "outcomes": {finding.name: finding.outcome for finding in compared.findings}}
        write_manifest(part, Stage("compare", "verdicts"), taken=taken, kept=taken, facts=facts)


if __name__ == "__main__":
    stage_main(run)
