import pytest
from pydantic import ValidationError

from tasks.pool.source import SourceParams


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "give exactly one of path, hub, family, reasoning_gym, not none"),
        ({"path": "a.json", "family": "days"}, "not path and family"),
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
