"""`limo plan`: what a profile takes in memory, hours and money, on paper."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from tasks.errors import LimoError
from tasks.models.hardware import Machine, read_machine
from tasks.models.shapes import parameters
from tasks.planning.estimate import Estimate, Setting, as_json
from tasks.planning.given import Given, Numbers, read_said
from tasks.planning.sampling import Rates
from tasks.planning.training import SETTLED_GIB

MFU, MBU = 0.4, 0.5
PROMPT = 200
PARTS = ("weights", "gradients", "optimizer", "activations", "logits", "gathered", "layer", "settled", "peak", "host")


def plan(
    profile: Annotated[str, typer.Argument(help="a profile under profiles/")],
    gpus: Annotated[str | None, typer.Option(help="such as 8xH200; none: a CPU, with hours only if measured")] = None,
    price: Annotated[float | None, typer.Option(min=0, help="of one GPU for one hour, for the cost")] = None,
    measured: Annotated[Path | None, typer.Option(help="artifacts of an earlier run: its numbers and speeds")] = None,
    assume: Annotated[list[str] | None, typer.Option(help="STAGE.WHAT=NUMBER, such as band.tokens=9000")] = None,
    mfu: Annotated[float, typer.Option(min=0.01, max=1, help="share of peak FLOP/s, without recomputing")] = MFU,
    mbu: Annotated[float, typer.Option(min=0.01, max=1, help="share of peak memory bandwidth in decoding")] = MBU,
    as_text: Annotated[bool, typer.Option("--json", help="print all of it as JSON")] = False,
) -> None:
    """What a profile takes on a machine, before anything is spent: memory, tokens, hours, cost; and what would fit."""
    from flows import check as checks
    from flows import planned, profiles
    from tasks.planning.measured import NOTHING, read_measured

    machine = read_machine(gpus) if gpus is not None else None
    if price is not None and machine is None:
        raise LimoError("limo plan: --price is of a GPU: give --gpus too")
    tree = profiles.compose(profile)
    if found := checks.mistakes(tree):
        raise LimoError(f"profiles/{profile}.yaml: {len(found)} to mend; see `limo check {profile}`")
    asked = planned.read(tree)
    sizes = {name: parameters(shape) for name, shape in asked.shapes.items()}
    told = read_measured(measured, sizes, machine) if measured is not None else NOTHING
    numbers = Numbers(read_said(assume or [], [*asked.shapes, *planned.ARMS]), told.numbers)
    setting = Setting(machine, Rates(mfu, mbu), PROMPT)
    made = planned.estimates(asked, numbers, setting, told.speeds)
    numbers.check()
    print(_as_json(made, numbers, setting, price) if as_text else _as_tables(made, numbers, setting, price), end="")


def _as_json(made: Sequence[Estimate], numbers: Numbers, setting: Setting, price: float | None) -> str:
    machine = setting.machine
    whole = {
        "gpus": str(machine) if machine else None,
        "rates": setting.rates._asdict(),
        "price": price,
        "stages": [as_json(one, machine, price) for one in made],
        "numbers": {key: given._asdict() for key, given in numbers.used.items()},
    }
    return json.dumps(whole, indent=2) + "\n"


def _as_tables(made: Sequence[Estimate], numbers: Numbers, setting: Setting, price: float | None) -> str:
    from flows.summary import render, table

    train = next(one for one in made if one.name == "train")
    drawn = [one for one in made if one.name != "train"]
    machine = setting.machine
    pieces = [table(_train_rows(train), f"Training: GiB on each of {train.gpus} ranks")]
    if machine is not None:
        pieces.append(table([_served_row(one, machine) for one in drawn], f"Sampling: GiB on each {machine.gpu.name}"))
    pieces.append(table(_cost_rows(made, machine, price), f"Tokens and hours on {machine or 'this machine'}"))
    pieces.append(table([_number_row(key, given) for key, given in numbers.used.items()], "Numbers it rests on"))
    return render(*pieces) + "\n".join([*_lines(made, setting), ""])


def _train_rows(train: Estimate) -> list[dict[str, Any]]:
    words = {"gathered": "gathered layers", "layer": "or a layer", "settled": "CUDA, NCCL", "host": "main memory, all"}
    # Only one of the two keeps more than the layers' inputs.
    on = train.memory["activations"] < train.otherwise["activations"]
    both = {("on" if on else "off"): train.memory, ("off" if on else "on"): train.otherwise}
    return [
        {"activation checkpointing": f"{name}{', as here' if memory is train.memory else ''}"}
        | {
            words.get(part, part): f"{memory[part]:.3g}" if memory[part] < 1 else f"{memory[part]:.1f}"
            for part in PARTS
        }
        for name, memory in both.items()
    ]


def _served_row(one: Estimate, machine: Machine) -> dict[str, Any]:
    if not one.memory:
        return {
            "stage": one.name,
            "model": one.model,
            "GPUs": "",
            "weights": "",
            "KV cache": "",
            "cache tokens": "",
            "fits": "",
        }
    return {
        "stage": one.name,
        "model": one.model,
        "GPUs": f"{one.gpus} of {machine.number}",
        "weights": f"{one.memory['weights']:.1f}",
        "KV cache": f"{max(one.memory['kv_cache'], 0):.1f}",
        "cache tokens": f"{one.memory['cache_tokens']:,.0f}",
        "fits": "no" if one.misfits else "yes",
    }


def _cost_rows(made: Sequence[Estimate], machine: Machine | None, price: float | None) -> list[dict[str, Any]]:
    rows = [_cost_row(one, machine, price) for one in made]
    known = [one.hours for one in made if one.hours is not None]
    total: dict[str, Any] = dict.fromkeys(rows[0], "")
    whole = len(known) == len(made)
    total |= {"stage": "all" if whole else "all that is known", "hours": _round(sum(known)) if known else "?"}
    if price is not None and machine is not None:
        total["cost"] = f"{sum(known) * machine.number * price:,.0f}"
    return [*rows, total]


def _cost_row(one: Estimate, machine: Machine | None, price: float | None) -> dict[str, Any]:
    row = {
        "stage": one.name,
        "model": one.model,
        "questions": "" if one.questions is None else f"{one.questions:,.0f}",
        "responses": f"{one.responses:,.0f}" + (" samples" if one.questions is None else ""),
        "M tokens": _round(one.tokens / 1e6),
        "at most": _round(one.most_tokens / 1e6),
        "tokens/s": "" if one.rate is None else f"{one.rate:,.0f}{' measured' if one.measured else ''}",
        "hours": "does not fit" if one.misfits else "?" if one.hours is None else _round(one.hours),
    }
    if price is not None and machine is not None:
        row["cost"] = "" if one.hours is None else f"{one.hours * machine.number * price:,.0f}"
    return row


def _number_row(key: str, given: Given) -> dict[str, Any]:
    value = f"{given.value:,.0f}" if given.value >= 100 else f"{given.value:.3g}"
    return {"number": key, "value": value, "from": given.source}


def _round(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _lines(made: Sequence[Estimate], setting: Setting) -> list[str]:
    said: dict[str, None] = {}
    for one in made:
        who = f"{one.name} ({one.model})"
        for misfit in one.misfits:
            said[f"Does not fit: {who}: {misfit}"] = None
        if one.ways:
            said["\n".join([f"Each of these would make {who} fit:", *(f"  - {way}" for way in one.ways)])] = None
        elif one.misfits:
            said[f"Nothing that is known here would make {who} fit"] = None
        for note in one.notes:
            said[f"Note: {who}: {note}"] = None
    if setting.machine is not None:
        said[
            f"Speeds that are not measured: {setting.rates.mfu:.0%} of peak FLOP/s (recomputing comes on top), "
            f"{setting.rates.mbu:.0%} of peak bandwidth, prompts of {setting.prompt:.0f} tokens; CUDA and NCCL are "
            f"taken to hold {SETTLED_GIB:.0f} GiB. Left out of the hours: downloads, CPU stages, checkpoints, talk "
            "between GPUs, and the slow end of each stage."
        ] = None
    return list(said)
