import pytest

from flows.explain.text import block, fields, mark, number, percent, table, word_diff


@pytest.mark.parametrize(
    ("old", "new", "shown"),
    [
        ("What is 1 + 0?", "So what is 1 + 0 then?", "[-What-] {+So what+} is 1 + 0 {+then+}?"),
        ("小明有3个苹果", "小明有5个苹果", "小明有 [-3-] {+5+} 个苹果"),
        ("a b c d e f g h x", "a b c d e f g h y", "… e f g h [-x-] {+y+}"),
        ("x b c d e f g h i j k l", "y b c d e f g h i j k l", "[-x-] {+y+} b c d e …"),
        ("one two", "two", "[-one-] two"),
        ("same  words", "same\nwords", "(only white space differs)"),
        ("same words", "same words", "(not a character differs)"),
    ],
)
def test_only_what_differs_is_shown_with_a_few_words_around(old, new, shown):
    assert word_diff(old, new) == shown


def test_of_long_texts_the_beginning_is_compared_and_it_says_so():
    same = " ".join(f"w{number}" for number in range(1_600))
    assert word_diff(f"a {same}", f"b {same}").endswith("… (the first 1,500 words)")
    assert word_diff(f"{same} a", f"{same} b") == "(the first 1,500 words are the same)"


@pytest.mark.parametrize(
    ("text", "match", "shown"),
    [
        ("Let Find X be.", "find x", "Let «Find X» be."),
        ("Find the value of $x^{2} + 1$ now", "value of x^2+1", "Find the «value of $x^{2} + 1»$ now"),
        ("He has 5 red apples and 3 pears", "has 7 red apples and 4 pears", "He has 5 «red apples and» 3 pears"),
        ("求所有正整数的和", "所有正整数", "求«所有正整数»的和"),
        ("nothing shared", "at all", "nothing shared"),
        ("nothing to look for", "", "nothing to look for"),
    ],
)
def test_what_two_texts_share_is_marked_whatever_its_typesetting(text, match, shown):
    assert mark(text, [match]) == shown


def test_what_several_matches_share_with_a_text_is_marked_once():
    assert (
        mark("one two three four five six", ["five six", "two three", "three four"])
        == "one «two three four» «five six»"
    )
    assert mark("one two three", ["two", "one two three"]) == "«one two three»"
    assert mark("one", []) == "one"


def test_fields_are_aligned_and_empty_ones_left_out():
    assert fields({"id": "s_1", "nothing": None, "value": 0}) == ["id     s_1", "value  0"]


def test_numbers_stand_right_and_texts_left():
    lines = table([{"n": 5, "name": "x"}, {"n": 100, "name": "longer"}])
    assert lines == ["  n  name", "---  ------", "  5  x", "100  longer"]


def test_percent_with_its_interval():
    assert percent(0.5, 0.412, 0.5999) == "50.0% [41.2, 60.0]"


def test_a_block_keeps_lines_and_takes_out_control_characters():
    assert block("one\n\n\ttwo\x1b[2J\u202e", indent="> ") == ["> one", "> ", ">         two[2J"]


def test_a_block_is_cut_only_beyond_its_limit_and_says_so():
    assert block("x" * 2_000) == ["    " + "x" * 2_000]
    assert block("x" * 3_234) == ["    " + "x" * 2_000, "    … 1,234 more characters"]


def test_a_count_agrees_with_its_noun():
    assert [number(count, "row") for count in (0, 1, 2000)] == ["0 rows", "1 row", "2,000 rows"]
