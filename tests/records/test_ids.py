from tasks.records.ids import content_id
from tasks.records.question import question_id


def test_an_id_is_its_content():
    assert content_id("q", "gsm8k", "2+2?") == content_id("q", "gsm8k", "2+2?")
    assert content_id("q", "gsm8k", "2+2?").startswith("q_")


def test_parts_do_not_run_together():
    assert content_id("q", "ab", "c") != content_id("q", "a", "bc")


def test_the_same_text_in_two_sources_is_two_questions():
    assert question_id("math", "2+2?") != question_id("gsm8k", "2+2?")


def test_any_text_has_an_id():
    assert len(content_id("r", "\ud800 lone surrogate", "\x00", 7)) == 18
