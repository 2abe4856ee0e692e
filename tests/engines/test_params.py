from tasks.engines.params import EngineParams


def test_a_model_of_its_own_needs_leaves_the_others_alone():
    params = EngineParams.model_validate({"tensor_parallel": 8, "models": {"weak": {"tensor_parallel": 4}}})
    assert params.of("weak").tensor_parallel == 4
    assert params.of("strong").tensor_parallel == 8
    assert params.of("weak").max_num_seqs == params.max_num_seqs
