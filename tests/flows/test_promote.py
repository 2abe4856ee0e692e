import json

import pytest

from flows.promote import Gate, promote, rollback
from tasks.core.errors import LimoError
from tasks.tracking.store import mlflow_client
from tests.artifacts import write_store

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def registry(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        root = tmp_path_factory.mktemp("artifacts")
        write_store(root, tmp_path_factory)
        yield root


def register(artifacts, name, average, base=0.2, grader="g 1"):
    """A new version with these scores, as the challenger."""
    scores = {"score/average/pass_at_1": average, "base/average/pass_at_1": base}
    tags = {tag: json.dumps({"value": value, "low": value - 0.1, "high": value + 0.1}) for tag, value in scores.items()}
    tags["grader"] = grader
    with mlflow_client(artifacts) as client:
        if not client.search_registered_models(f"name='{name}'"):
            client.create_registered_model(name)
        version = client.create_model_version(name, str(artifacts / "model"), tags=tags).version
        client.set_registered_model_alias(name, "challenger", version)


def aliases(artifacts, name):
    with mlflow_client(artifacts) as client:
        return {alias: str(version) for alias, version in client.get_registered_model(name).aliases.items()}


def test_a_champion_is_replaced_and_rolled_back(registry):
    register(registry, "limo", 0.6)
    assert promote(registry, "limo", Gate()).promoted
    assert aliases(registry, "limo") == {"champion": "1"}

    register(registry, "limo", 0.5)
    refused = promote(registry, "limo", Gate())
    assert not refused.promoted
    assert "not good enough against champion 1 on average" in refused.why
    assert aliases(registry, "limo") == {"champion": "1", "challenger": "2"}

    register(registry, "limo", 0.65)
    assert not promote(registry, "limo", Gate(rule="interval")).promoted
    accepted = promote(registry, "limo", Gate(margin=0.05))
    assert accepted.promoted
    assert accepted.checks[0].needed == pytest.approx(0.65)
    assert aliases(registry, "limo") == {"champion": "3", "previous": "1"}

    assert rollback(registry, "limo").champion == "1"
    assert aliases(registry, "limo") == {"champion": "1", "previous": "3"}


def test_the_first_challenger_must_beat_its_own_base(registry):
    register(registry, "worse", 0.1, base=0.2)
    refused = promote(registry, "worse", Gate())
    assert not refused.promoted
    assert "its base model" in refused.why


def test_scores_of_two_graders_are_not_compared(registry):
    register(registry, "graded", 0.6)
    promote(registry, "graded", Gate())
    register(registry, "graded", 0.7, grader="g 2")
    with pytest.raises(LimoError, match="version 2 was graded by g 2, champion 1 by g 1"):
        promote(registry, "graded", Gate())


def test_what_is_missing_is_named(registry):
    with pytest.raises(LimoError, match="registered model none: not in the registry"):
        promote(registry, "none", Gate())
    register(registry, "new", 0.9)
    with pytest.raises(LimoError, match="no score score/aime24/pass_at_1; it has base/average"):
        promote(registry, "new", Gate(benchmarks=("aime24",)))
    with pytest.raises(LimoError, match="no previous champion"):
        rollback(registry, "new")
    assert promote(registry, "new", Gate()).promoted
    with pytest.raises(LimoError, match="no challenger"):
        promote(registry, "new", Gate())
