import json

import pytest

from tasks.core.errors import LimoError
from tasks.sources.rows import read_source, with_options
from tasks.sources.source import SourceParams


def source(tmp_path, rows, **given):
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return SourceParams(name="s", path=str(path), **given)


def rows_of(tmp_path, rows, **given):
    return read_source(source(tmp_path, rows, **given), "pool", "pull.sources.0", tmp_path / "work")


def test_common_column_names_are_guessed(tmp_path):
    (found,) = rows_of(tmp_path, [{"problem": " 1+1? ", "answer": 2.0, "type": "Algebra", "difficulty": 5.0}])

    assert found[:4] == ("1+1?", "2", "Algebra", "5")
    assert found.origin.endswith("rows.jsonl:1")


def test_a_solution_without_a_box_is_no_answer(tmp_path):
    first, second = rows_of(
        tmp_path, [{"problem": "a", "solution": r"\boxed{3}"}, {"problem": "b", "solution": "clear"}]
    )

    assert (first.answer, second.answer, second.cell) == ("3", None, '"clear"')


def test_a_later_row_may_bring_the_column(tmp_path):
    assert [row.answer for row in rows_of(tmp_path, [{"problem": "a"}, {"problem": "b", "answer": "1"}])] == [
        None,
        "1",
    ]


def test_unknown_columns_are_listed(tmp_path):
    rows = [{"text": "a", "gold": "1"}]

    with pytest.raises(LimoError, match="fields.question: say which column holds it; there are text, gold"):
        rows_of(tmp_path, rows)
    with pytest.raises(LimoError, match="pull.sources.0.fields: no column subject; there are text, gold"):
        rows_of(tmp_path, rows, fields={"question": "text", "answer": "gold", "domain": "subject"})


def test_a_duplicate_id_names_both_rows(tmp_path):
    rows = [{"problem": "a", "answer": 1, "id": 7}, {"problem": "b", "answer": 2, "id": 7}]

    with pytest.raises(LimoError, match=r"rows.jsonl:2: id 7 was already used in .*rows.jsonl:1"):
        rows_of(tmp_path, rows, fields={"id": "id"})


def test_an_empty_file_is_an_error(tmp_path):
    with pytest.raises(LimoError, match="source `s` has no rows"):
        rows_of(tmp_path, [])


def test_a_limit_draws_the_same_sample_from_any_order(tmp_path):
    rows = [{"problem": f"question {number}", "answer": number} for number in range(100)]

    sample = {row.question for row in rows_of(tmp_path, rows, limit=10)}
    reordered = {row.question for row in rows_of(tmp_path, rows[::-1], limit=10)}
    other = {row.question for row in rows_of(tmp_path, rows, limit=10, seed=1)}

    assert sample == reordered
    assert len(sample) == 10
    assert sample != other


def test_a_choice_column_gives_the_letter_where_it_has_one(tmp_path):
    rows = [
        {"problem": "a", "answer": "C. x", "right": "C"},
        {"problem": "b", "answer": "(4,0)", "right": ""},
    ]

    first, second = rows_of(tmp_path, rows, fields={"choice": "right"})

    assert (first.answer, first.choice) == ("C", True)
    assert (second.answer, second.choice) == ("(4,0)", False)


def test_options_are_in_an_order_that_tells_nothing(tmp_path):
    choices = [with_options(f"question {number}", "right", ["u", "v", "w"]) for number in range(40)]

    for choice in choices:
        assert f"{choice.answer}. right" in choice.question
    assert {choice.answer for choice in choices} == {"A", "B", "C", "D"}


def test_generators_give_disjoint_splits(tmp_path):
    generator = SourceParams(name="s", family="days", levels=(2, 3), count=50)

    pool, evaluation = (read_source(generator, split, "key", tmp_path) for split in ("pool", "eval"))

    assert len(pool) == 50
    assert {row.level for row in pool} == {"2", "3"}
    assert not {row.question for row in pool} & {row.question for row in evaluation}


@pytest.mark.slow
def test_reasoning_gym_seeds_near_each_other_share_nothing(tmp_path):
    def questions(seed):
        generator = SourceParams(name="s", reasoning_gym="chain_sum", count=40, seed=seed, config={"min_digits": 4})
        return {row.question for row in read_source(generator, "pool", "key", tmp_path)}

    assert len(questions(3)) == 40
    assert not questions(3) & questions(4)


def test_a_reasoning_gym_error_is_one_line(tmp_path):
    generator = SourceParams(name="s", reasoning_gym="chain_sum", count=1, config={"no_such_setting": 1})

    with pytest.raises(LimoError, match=r"chain_sum: .*no_such_setting.*pull.sources.0"):
        read_source(generator, "pool", "pull.sources.0", tmp_path)
