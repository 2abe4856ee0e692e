import pytest

from flows.explain.question import in_short, in_words, parsed


def test_a_reason_is_shown_with_its_words_and_one_without_by_its_name():
    assert in_words("needs_image", {"needs_image": "needs an image"}) == "needs_image: needs an image"
    assert in_words("of_my_own", {}) == "of_my_own"


@pytest.mark.parametrize(
    ("evidence", "short"),
    [
        ('{"question_id": "q_1", "similarity": 0.93, "cluster_id": "k_1"}', "q_1, similarity 0.93, k_1"),
        ('{"benchmark": "math500", "item_id": "b_1", "rule": "whole", "match": "long"}', "math500, b_1, rule whole"),
        ('{"question_id": null, "similarity": 0.0, "cluster_id": "k_1"}', "similarity 0.0, k_1"),
        ("file.jsonl:3", "file.jsonl:3"),
        ("{x in a set}", "{x in a set}"),
        (None, ""),
    ],
)
def test_evidence_in_short(evidence, short):
    assert in_short(evidence) == short


def test_evidence_that_is_no_object_has_no_entries():
    assert parsed("[1]") == parsed("{torn") == parsed(None) == {}
