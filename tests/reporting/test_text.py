from tasks.reporting.text import cut, shorten


def test_control_characters_of_a_response_do_not_reach_the_terminal():
    assert shorten("a\x1b[31mred\x07\nnext\x00", 40) == "a[31mred next"


def test_long_text_is_cut_with_a_mark():
    assert shorten("word " * 30, 10) == "word word…"
    assert cut("word " * 300, 4) == "word\n… 1,496 more characters"
    assert cut(None, 4) == ""
