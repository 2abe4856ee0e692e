from tasks.tracking.store import flat_metrics, flat_params, key


def test_params_are_flat_with_lists_as_json():
    params = {
        "score": {"weights": {"a": 0.5}, "words": ("check", "检"), "none": None},
        "profile": "default",
        "empty": {},
    }
    assert flat_params(params) == {
        "score.weights.a": "0.5",
        "score.words": '["check", "检"]',
        "score.none": "null",
        "profile": "default",
        "empty": "{}",
    }


def test_a_long_value_is_cut_to_what_mlflow_takes():
    assert len(flat_params({"text": "x" * 9000})["text"]) == 6000


def test_only_numbers_become_metrics():
    facts = {"taken": 3, "rejected": {"too long": 1}, "engine": "vllm", "resumed": True, "teachers": [{"tokens": 7}]}
    assert flat_metrics(facts) == {"taken": 3.0, "rejected.too long": 1.0, "resumed": 1.0, "teachers.0.tokens": 7.0}


def test_names_are_brought_to_mlflows_characters():
    assert key("base/aime24/pass@1") == "base/aime24/pass_at_1"
    assert key("数学(a)") == "___a_"
