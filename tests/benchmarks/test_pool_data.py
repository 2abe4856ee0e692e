import json

import pytest

from benchmarks.pool_data import (
    Shape,
    batches,
    benchmark_items,
    real_questions,
    split_sentences,
    variants,
    write_shards,
)

ASKED = [
    "Tom has 12 apples, 345 pears and 27 plums. Mary gives him 48 more of each. How many pieces does he have?",
    "A train runs 120 km in 35 minutes and 250 km in 75 minutes. What is its mean speed in km/h over 1440 minutes?",
    "Let $x^2+15x+204=0$ and $y=\\frac{1}{2}$. If $z = 3107$ and $w = 555$, find $x+y+z+w$.",
]


@pytest.fixture
def data(tmp_path):
    (tmp_path / "pool").mkdir()
    (tmp_path / "benchmarks").mkdir()
    rows = [{"question": text, "answer": f"so it is\n#### {place}"} for place, text in enumerate(ASKED)]
    (tmp_path / "pool" / "gsm.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n")
    (tmp_path / "pool" / "aime.json").write_text(json.dumps([{"problem": "Find $1+1$.", "answer": "2"}] * 2))
    lines = [{"question": "已知 x=1", "answer": "C. 1", "choice_answer": "C"}]
    (tmp_path / "benchmarks" / "gaokao.jsonl").write_text("\n".join(map(json.dumps, lines)))
    return tmp_path


def test_real_questions_take_the_final_answer_and_each_text_once(data):
    real = real_questions(data)
    assert real.select("source", "answer").rows() == [("aime", "2"), ("gsm", "0"), ("gsm", "1"), ("gsm", "2")]


def test_benchmark_items_take_the_letter_where_there_is_one(data):
    row = benchmark_items(data).row(0, named=True)
    assert (row["benchmark"], row["gold"], row["language"], row["origin"]) == ("gaokao", "C", "zh", "gaokao.jsonl:1")


def test_variants_are_the_same_each_time_and_differ_from_each_other(data):
    real = real_questions(data)
    once, again = variants(real, 104), variants(real, 104)
    assert once.equals(again)
    assert once["question"].n_unique() == once["question_id"].n_unique() == 104
    assert not once.equals(variants(real, 104, seed=1))


def test_equal_numbers_of_a_variant_stay_equal(data):
    real = real_questions(data).head(0).vstack(real_questions(data).tail(1))
    made = variants(real.with_columns(question=real["question"] + " Here is 204 again. And 204."), 11)["question"]
    for text in made.tail(10).to_list():
        assert text.count(text.removesuffix(".").rsplit(" ", 1)[1]) >= 2


def test_joined_variants_are_longer_and_repeated_ones_are_copies(data):
    real = real_questions(data)
    single, double = variants(real, 54), variants(real, 54, shape=Shape(joined=2))
    assert double["question"].str.len_chars().mean() > 1.5 * single["question"].str.len_chars().mean()
    made = variants(real, 54, shape=Shape(repeated=0.2)).tail(50)
    words = [" ".join(text.lower().split()).replace("dfrac", "frac") for text in made["question"]]
    assert words[-10:] == words[10:20]
    assert made["answer"].to_list()[-10:] == made["answer"].to_list()[10:20]


def test_shards_hold_every_question(data, tmp_path):
    paths = write_shards(tmp_path / "shards", real_questions(data), 30)
    rows = [json.loads(line) for path in paths for line in path.read_text().splitlines()]
    expected = [row for batch in batches(real_questions(data), 30) for row in batch["question"].to_list()]
    assert [row["question"] for row in rows] == expected


def test_no_sentence_ends_inside_a_formula():
    assert split_sentences("If $x. y$ is 3. Then \\[a. b\\] holds.") == ["If $x. y$ is 3.", "Then \\[a. b\\] holds."]
