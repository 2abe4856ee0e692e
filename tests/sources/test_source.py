import pytest
import yaml
from pydantic import ValidationError

from tasks.benchmarks import BenchmarkParams
from tasks.sources.source import BENCHMARKS, POOL, SourceParams

COMMIT = "0" * 40
NAMES = ["NuminaMath-CoT", "DeepScaleR", "MATH", "GSM8K", "AIME", "LIMO", "LIMO-v2", "OpenR1-Math"]


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
def test_errors_are_explained(given, message):
    with pytest.raises(ValidationError) as error:
        SourceParams(name="a", **given)

    assert message in str(error.value)


def test_one_form_is_accepted():
    assert SourceParams(name="a", family="days", levels=(2,), count=3).seed == 0


def test_a_url_may_have_a_query_and_be_compressed():
    given = SourceParams(name="a", url={"url": "https://x.org/a/q.jsonl.gz?download=true&v=2.0"})

    assert given.url.url.endswith("v=2.0")


@pytest.mark.parametrize("name", NAMES)
def test_every_preset_of_the_pool_is_complete_or_says_what_it_lacks(name):
    pinned = "revision" in POOL[name]["hub"]
    if not pinned:
        with pytest.raises(ValidationError, match=f"preset {name} needs hub.revision: give the full commit hash"):
            SourceParams(preset=name)

    given = SourceParams(preset=name, **({} if pinned else {"hub": {"revision": COMMIT}}))

    assert given.name == name
    assert given.hub.repo == POOL[name]["hub"]["repo"]
    assert given.fields.question
    assert given.fields.answer
    assert given.license
    assert given.citation


def test_there_are_no_others():
    assert list(POOL) == NAMES


def test_what_is_given_with_a_preset_wins():
    given = SourceParams(
        preset="MATH", name="math", license="other", fields={"level": "hard"}, hub={"file": "data/test-*.parquet"}
    )

    assert (given.name, given.license, given.answer_from) == ("math", "other", "boxed")
    assert (given.fields.question, given.fields.answer, given.fields.level) == ("problem", "solution", "hard")
    assert (given.hub.repo, given.hub.file) == ("DigitalLearningGmbH/MATH-lighteval", "data/test-*.parquet")


@pytest.mark.parametrize("form", [{"path": "gsm8k.jsonl"}, {"url": {"url": "https://x.org/gsm8k.jsonl"}}])
def test_another_form_replaces_the_hub_files_and_keeps_the_reading(form):
    given = SourceParams(preset="GSM8K", **form)

    assert given.hub is None
    assert (given.answer_from, given.fields.answer, given.license) == ("hash", "answer", "mit")


def test_a_path_needs_no_revision():
    assert SourceParams(preset="LIMO", path="limo.jsonl").fields.answer == "answer"


def test_another_repository_takes_nothing_from_that_of_the_preset():
    with pytest.raises(ValidationError, match="preset MATH needs hub.revision"):
        SourceParams(preset="MATH", hub={"repo": "my/copy", "file": "train.jsonl"})


def test_presets_survive_being_written_out_and_read_again():
    given = SourceParams(preset="OpenR1-Math", limit=3)

    assert SourceParams.model_validate(given.model_dump()) == given
    assert SourceParams.model_validate(yaml.safe_load(yaml.safe_dump(given.model_dump(mode="json")))) == given


def test_pool_and_benchmarks_have_presets_of_their_own():
    with pytest.raises(ValidationError, match="no preset `AIME24`; there are NuminaMath-CoT, DeepScaleR"):
        SourceParams(preset="AIME24")
    with pytest.raises(ValidationError, match="no preset `GSM8K`; there are AIME24, MATH500"):
        BenchmarkParams(preset="GSM8K")
    assert not set(POOL) & set(BENCHMARKS)
