"""Builders of records for tests: state what matters, default the rest."""

from pathlib import Path

from tasks.core.files import write_json
from tasks.records.model import Model
from tasks.records.question import Question, question_id

SHIPPED = Path("tasks/shipped")


def make_question(question="What is 3 + 4?", answer="7", source="made", **fields):
    return Question(
        question_id=question_id(source, question), source=source, question=question, answer=answer, **fields
    )


def make_model(name="base", path="tasks/shipped/base", **fields):
    given = {"model_id": f"m_{name}", "origin": f"shipped:{name}", "architecture": "Qwen2ForCausalLM", "parameters": 1}
    return Model(name=name, path=str(path), **(given | fields))


def write_models(path, *models):
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, [model.model_dump() for model in models])
    return path
