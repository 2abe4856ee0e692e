import pytest
from pydantic import ValidationError

from tasks.sources.source import SourceParams


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "give exactly one of path, hub, url, family, reasoning_gym, not none"),
        ({"path": "a.json", "family": "days"}, "not path and family"),
        ({"path": "a.json", "url": {"url": "https://x.org/a.json"}}, "not path and url"),
        ({"url": {"url": "https://x.org/a.txt"}}, "its path must end in .json, .jsonl, .csv"),
        ({"url": {"url": "https://x.org/?file=a.json"}}, "its path must end in"),
        ({"url": {"url": "https://me:secret@x.org/a.json"}}, "leave name and password out of the url"),
        ({"url": {"url": "x.org/a.json"}}, "url.url"),
        ({"url": {"url": "https://x.org/a.json", "sha256": "abc"}}, "url.sha256"),
        ({"url": {"url": "https://x.org/a.json"}, "count": 3}, "`count` has no meaning for a source given by `url`"),
        ({"path": "a.json", "answer_from": "box"}, "'letter'"),
        ({"family": "days", "count": 3}, "needs `levels`"),
        ({"reasoning_gym": "chain_sum"}, "needs `count`"),
        ({"path": "a.json", "levels": [1]}, "`levels` has no meaning for a source given by `path`"),
        ({"path": "a.json", "config": {"x": 1}}, "`config` has no meaning"),
        ({"hub": {"repo": "openai/gsm8k", "revision": "main", "file": "x"}}, "revision"),
        ({"path": "a.json", "fields": {"anwser": "x"}}, "Extra inputs"),
        ({"path": "a.json", "limit": 0}, "greater than 0"),
    ],
)
def test_mistakes_are_explained(given, message):
    with pytest.raises(ValidationError) as error:
        SourceParams(name="a", **given)

    assert message in str(error.value)


def test_one_form_is_accepted():
    assert SourceParams(name="a", family="days", levels=(2,), count=3).seed == 0


def test_a_url_may_have_a_query_and_be_compressed():
    given = SourceParams(name="a", url={"url": "https://x.org/a/q.jsonl.gz?download=true&v=2.0"})

    assert given.url.url.endswith("v=2.0")
