"""The pipeline's `[gen]` stages against two real `vllm serve`, one of which is killed in mid-run.

One start of the pair for the whole file: it is most of the time. The test that kills comes last.
"""

import socket
import threading
import time

import httpx
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from flows.serve import kill, start_servers, stop, wait_until_up
from tasks import band, reason, screen
from tasks.core.files import read_json
from tasks.core.params import ChatParams
from tasks.engines.openai import OpenAIEngine
from tasks.engines.params import EngineParams, SamplingParams
from tasks.engines.prompts import prompt_renderer
from tasks.engines.protocol import make_request
from tasks.families import problems
from tasks.records.question import QUESTION
from tasks.records.response import LOOP, TOO_LONG
from tests.builders import SHIPPED, make_model, make_question, write_models
from tests.waiting import LIMIT_SECONDS

pytestmark = pytest.mark.slow(minutes=2)

SERVED = EngineParams(dtype="float32", max_model_len=512, max_num_seqs=8, kv_cache_gib=0.25)
SAMPLING = SamplingParams(temperature=1.0, max_tokens=160)
SCREEN = screen.ScreenParams(model="strong", attempts=1, sampling=SAMPLING)
BAND = band.BandParams(model="strong", samples=12, max_solved=11, sampling=SAMPLING.model_copy(update={"seed": 1}))
TEACHER = reason.TeacherParams(model="strong", samples=2, sampling=SAMPLING.model_copy(update={"seed": 2}))
STAGES = ("screen", "band")
FILES = ("screen/attempts", "screen/kept", "band/attempts", "band/kept", "reason/kept", "reason/rejected")


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    servers = start_servers(
        "strong",
        SHIPPED / "strong",
        SERVED,
        host="127.0.0.1",
        ports=free_ports(2),
        logs=tmp_path_factory.mktemp("servers"),
    )
    try:
        wait_until_up(servers)
        yield servers
    finally:
        stop(servers)


def free_ports(count):
    probes = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [probe.getsockname()[1] for probe in probes]
    for probe in probes:
        probe.close()
    return ports


def params(*servers, **more):
    return EngineParams(kind="openai", base_urls=[server.url for server in servers], in_flight=16, **more)


@pytest.fixture
def engine(pair):
    engine = OpenAIEngine("strong", params(*pair))
    yield engine
    engine.close()


@pytest.fixture(scope="module")
def pool(tmp_path_factory):
    drawn = [*problems("buttons", 20, 5, [2, 3, 4], "pool"), *problems("days", 20, 5, [2, 3, 4], "pool")]
    path = tmp_path_factory.mktemp("pool") / "questions.parquet"
    rows = [make_question(one.question, str(one.answer)) for one in drawn]
    pl.DataFrame(rows, schema=QUESTION).write_parquet(path)
    return path


def run(folder, pool, engine, *, before_band=lambda: None):
    """The three stages, in `folder`."""
    given = {
        "models": write_models(folder / "models.json", make_model("strong", SHIPPED / "strong")),
        "ledger": folder / "ledger",
    }
    chat = ChatParams()
    screen.run(SCREEN, engine, chat, questions=pool, out=folder / "screen", **given)
    before_band()
    band.run(BAND, engine, chat, questions=folder / "screen/kept.parquet", out=folder / "band", **given)
    teachers = reason.ReasonParams(teachers=(TEACHER,))
    reason.run(teachers, engine, chat, questions=folder / "band/kept.parquet", out=folder / "reason", **given)
    return {name: pl.read_parquet(folder / f"{name}.parquet") for name in FILES}


def finish(engine, *requests):
    engine.submit(requests)
    found = {}
    while len(found) < len(requests):
        found |= {response.response_id: response for response in engine.finished(5)}
    return [found[request.response_id] for request in requests]


def test_a_sample_is_the_same_from_either_server_alone_or_in_a_batch(engine, pair):
    render = prompt_renderer(SHIPPED / "strong", ChatParams())
    requests = [make_request("m", render(f"What is {n} + 5?"), SAMPLING, index) for n in range(6) for index in (0, 1)]
    together = finish(engine, *requests)
    assert {response.engine.split()[0] for response in together} == {"vllm"}
    assert {response.engine.split()[-1] for response in together} == {server.url for server in pair}
    for server in pair:
        alone = OpenAIEngine("strong", params(server))
        again = finish(alone, requests[5])[0]
        alone.close()
        assert (again.text, again.n_tokens) == (together[5].text, together[5].n_tokens)
        assert again.logprob_sum == pytest.approx(together[5].logprob_sum, rel=1e-4)
    assert all(response.logprob_sum < 0 for response in together)


def test_finish_reasons_are_vllms_own(engine):
    render = prompt_renderer(SHIPPED / "strong", ChatParams())
    forever = SamplingParams(temperature=0, max_tokens=100_000)
    asked = [make_request("m", render(text), forever, 0) for text in ("7 " * 236, "word " * 600)]
    cut, too_long = finish(engine, *asked)
    assert (cut.finish_reason, cut.n_prompt_tokens + cut.n_tokens) == ("length", 512)
    assert (too_long.finish_reason, too_long.text) == (TOO_LONG, "")
    looping = SamplingParams(temperature=0, max_tokens=200, loop_tokens=8, loop_repeats=2)
    assert finish(engine, make_request("m", "1 1 1 1 1", looping, 0))[0].finish_reason == LOOP


def test_a_server_killed_in_mid_run_changes_nothing(pair, pool, tmp_path, capfd):
    expected = run(tmp_path / "undisturbed", pool, params(*pair))
    victim, survivor = pair
    killer = threading.Thread(target=kill_while_working, args=(victim,))
    got = run(tmp_path / "killed", pool, params(*pair), before_band=killer.start)
    killer.join()
    assert capfd.readouterr().err.count(f"{victim.url}: taken out") == 1
    engines = {stage: read_json(tmp_path / f"killed/progress/{stage}.json")["run"]["engine"] for stage in STAGES}
    assert [engines[stage]["servers_lost"] for stage in STAGES] == [0, 1]
    for name, table in expected.items():
        assert table.height > 0
        assert_frame_equal(got[name], table, check_row_order=False)
    written = pl.scan_parquet(tmp_path / "killed/ledger/**/*.parquet").select("response_id").collect()
    assert written["response_id"].is_unique().all()
    generated = finished_requests(survivor)
    run(tmp_path / "killed", pool, params(survivor))
    assert finished_requests(survivor) == generated


def kill_while_working(server):
    """Kill -9 a server and its worker once it has finished some more, and is working on others."""
    before = finished_requests(server)
    while finished_requests(server) < before + 20:
        time.sleep(0.02)
    kill(server)


def finished_requests(server):
    lines = httpx.get(f"{server.url.removesuffix('/v1')}/metrics", timeout=LIMIT_SECONDS).text.splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith("vllm:request_success_total{"))
