"""Benchmark items, the responses to them, their verdicts, and the scores made of those."""

import polars as pl

from tasks.records.ids import content_id

ITEM = pl.Schema(
    {
        "item_id": pl.String,
        "benchmark": pl.String,
        "question": pl.String,
        "gold": pl.String,
        "kind": pl.String,
        "language": pl.String,
        "origin": pl.String,
        "system": pl.String,
        "prompt": pl.String,
        "gold_kind": pl.String,
        "gold_value": pl.String,
        "gold_unit": pl.String,
    }
)
"""`kind` is how its answers are graded: a kind, or rules as JSON (`Rules.text`); `language` is `en` or `zh`; `system`
is the benchmark's own system message, null where the model's counts; `prompt` is the text around `{question}`,
null for the question alone; the last three are the gold as a typed record (`tasks.grading.golds`)."""

QUESTION_MARK = "{question}"
"""Where the question goes in the prompt of a benchmark."""

ANSWER = pl.Schema(
    {
        "response_id": pl.String,
        "item_id": pl.String,
        "benchmark": pl.String,
        "arm": pl.String,
        "model_id": pl.String,
        "sample_index": pl.Int64,
        "finish_reason": pl.String,
        "n_tokens": pl.Int64,
        "text": pl.String,
    }
)
"""`arm` is `base` or `trained`."""

VERDICT = pl.Schema(
    {
        "verdict_id": pl.String,
        "response_id": pl.String,
        "item_id": pl.String,
        "benchmark": pl.String,
        "arm": pl.String,
        "model_id": pl.String,
        "sample_index": pl.Int64,
        "finish_reason": pl.String,
        "n_tokens": pl.Int64,
        "verdict": pl.String,
        "extracted": pl.String,
        "rule": pl.String,
        "verdict_reason": pl.String,
        "grader": pl.String,
        "answer_key": pl.String,
        "judge_response_id": pl.String,
    }
)
"""`verdict` is `correct`, `incorrect` or `ungraded`; the last has its reason in `verdict_reason`; `answer_key` is equal
for answers that are plainly the same, null where there is none; `judge_response_id` is null where no judge was
called."""

JUDGEMENT = pl.Schema(
    {
        "response_id": pl.String,
        "item_id": pl.String,
        "extracted": pl.String,
        "verdict": pl.String,
        "model_id": pl.String,
        "finish_reason": pl.String,
        "n_tokens": pl.Int64,
        "text": pl.String,
    }
)
"""A judge's response to one different answer to an item; `verdict` is null where it gave none."""

SCORE = pl.Schema(
    {
        "score_id": pl.String,
        "benchmark": pl.String,
        "arm": pl.String,
        "model_id": pl.String,
        "metric": pl.String,
        "value": pl.Float64,
        "low": pl.Float64,
        "high": pl.Float64,
        "items": pl.Int64,
        "samples": pl.Int64,
        "ungraded": pl.Int64,
        "truncated": pl.Int64,
        "mean_tokens": pl.Float64,
        "grader": pl.String,
    }
)
"""`value` with its 95% interval [`low`, `high`], in [0, 1]; `samples` is responses an item; `ungraded` and `truncated`
count responses."""


def fill_prompt(question: str, prompt: str | None) -> str:
    """The user message for a question: the benchmark's prompt around it."""
    return prompt.replace(QUESTION_MARK, question) if prompt else question


def item_id(benchmark: str, question: str) -> str:
    """The id of a benchmark item: `b_` and the hash of its benchmark's name and its text."""
    return content_id("b", benchmark, question)


def verdict_id(response_id: str, item_id: str, grader: str) -> str:
    """The id of a verdict: `v_` and the hash of response, item and grader version."""
    return content_id("v", response_id, item_id, grader)


def score_id(benchmark: str, model_id: str, metric: str, grader: str, verdict_ids: list[str]) -> str:
    """The id of a score: `s_` and the hash of what it is and of every verdict in it."""
    return content_id("s", benchmark, model_id, metric, grader, *sorted(verdict_ids))
