from tasks.reporting.text import block, clean, fields, number, percent, table


def test_control_characters_of_a_response_do_not_reach_the_terminal():
    assert clean("a\x1b[31mred\x07\nnext\x00", 40) == "a[31mred next"


def test_long_text_is_cut_with_a_mark():
    assert clean("word " * 30, 10) == "word word…"


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
