import pytest
from pydantic import ValidationError

from tasks.engines.params import EngineParams


def test_a_model_of_its_own_needs_leaves_the_others_alone():
    params = EngineParams.model_validate({"tensor_parallel": 8, "models": {"weak": {"tensor_parallel": 4}}})
    assert params.of("weak").tensor_parallel == 4
    assert params.of("strong").tensor_parallel == 8
    assert params.of("weak").max_num_seqs == params.max_num_seqs


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:99999/v1",
        "http://127.0.0.1:0/v1",
        "http://127.0.0.1:port/v1",
        "127.0.0.1:8000/v1",
        "localhost/v1",
        "ftp://127.0.0.1/v1",
        "http:///v1",
        "http://my host/v1",
        "http://a..b/v1",
        "http://[::1/v1",
    ],
)
def test_a_url_where_no_server_can_be_is_refused(url):
    for params in ({"base_urls": [url]}, {"models": {"weak": {"base_urls": [url]}}}):
        with pytest.raises(ValidationError, match=r"base_urls.0\n.*(http://10.0.0.5:8000/v1|1 to 65535)"):
            EngineParams.model_validate(params)


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:8000/v1", "https://me:word@api.example.org/v1/", "http://[::1]:80/v1"]
)
def test_a_url_stays_as_it_stands(url):
    assert EngineParams(base_urls=(url,)).base_urls == (url,)
