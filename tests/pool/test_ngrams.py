import polars as pl

from tasks.pool.ngrams import build, find

ITEM = "Let $x$ and $y$ be real numbers with $x^2+y^2=25$ and $xy=12$. Find the largest value of $x-y$."
SHORT = "Compute $3^7-2$."


def table(key, texts):
    return pl.DataFrame({key: [f"{key[0]}{index}" for index in range(len(texts))], "question": texts})


def hits(questions, items, boilerplate=None, share=0.0, n=8):
    found = find(table("question_id", questions), build(table("item_id", items), n, boilerplate), share)
    return {row["question_id"]: row for row in found.to_dicts()}


def test_reformatted_prefixed_and_verbatim_copies_are_found():
    reformatted = r"Let \( x \) and \( y \) be real  numbers with \( x^{2} + y^{2} = 25 \) AND \(xy = 12\)."
    found = hits(
        [ITEM, reformatted, "Solve it. " + ITEM + " Thank you.", "What is the sum of 3 and 4 and 5 and 6?"], [ITEM]
    )

    assert {key: row["item_id"] for key, row in found.items()} == {"q0": "i0", "q1": "i0", "q2": "i0"}
    assert (found["q0"]["rule"], found["q1"]["rule"]) == ("whole", "ngram")
    assert found["q1"]["match"] == "let x and y be real numbers with"
    assert found["q2"]["share"] == 1.0


def test_a_short_text_is_compared_whole():
    found = hits(["compute 3^{7} - 2", "Compute $3^7-3$."], [SHORT])

    assert list(found) == ["q0"]
    assert found["q0"]["rule"] == "whole"


def test_the_item_with_most_in_common_is_the_evidence():
    other = "Let $x$ and $y$ be real numbers with $x+y=1$. How large can $xy$ be at most in this case?"

    assert hits(["Really: " + ITEM], [other, ITEM])["q0"]["item_id"] == "i1"


def test_shared_boilerplate_is_no_evidence_but_a_copy_still_is():
    template = "A display shows {}. Only the last two digits are kept. Each button is pressed once, in this order: {}."
    items = [template.format(number, f"add {number}, add 3") for number in range(10, 20)]
    pool = [template.format(77, "take away 5, add 8"), items[4]]

    assert set(hits(pool, items)) == {"q0", "q1"}
    assert set(hits(pool, items, boilerplate=3, share=0.5)) == {"q1"}


def test_min_share_is_of_the_shorter_text():
    part = "Let x and y be real numbers with x^2 + y^2 = 25, how large is x?"

    share = hits([part], [ITEM])["q0"]["share"]

    assert 0.5 < share < 1
    assert set(hits([part], [ITEM], share=share)) == {"q0"}
    assert hits([part], [ITEM], share=share + 0.01) == {}


def test_n_grams_do_not_run_from_one_text_into_the_next():
    halves = ["one two three four five six", "seven eight nine ten eleven twelve"]

    assert hits(halves, [" ".join(halves)]) == {}


def test_nothing_to_match_is_no_hit():
    assert hits([], [ITEM]) == {}
    assert hits(["", "?"], ["", ITEM]) == {}
