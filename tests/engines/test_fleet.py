"""How requests are distributed, and what happens when replicas crash: with real child processes that play the model."""

import os
import re
import time
from pathlib import Path

import pytest

from tasks.core.errors import LimoError
from tasks.engines.fleet import Fleet, Processes
from tasks.engines.machine import core_shares, cpu_cache_bytes, gpus, require_gpus
from tasks.engines.params import EngineParams, SamplingParams
from tasks.engines.protocol import Setup, make_request
from tests.builders import SHIPPED
from tests.engines import scripted
from tests.waiting import LIMIT_SECONDS, wait_until

SAMPLING = SamplingParams(max_tokens=8)


def fleet(folder, replicas=1, **params):
    setup = Setup(folder, EngineParams(max_num_seqs=16, **params), folder / "vllm.log", kv_cache_bytes=1000)
    return Fleet(Processes(scripted.run, "spawn"), [setup] * replicas)


def ask(prompt, index=0):
    return make_request("m_a", prompt, SAMPLING, index)


def collect(engine, count):
    found = []
    wait_until(lambda: found.extend(engine.finished(0.5)) or len(found) >= count)
    assert engine.finished(0.2) == []
    return found


def mark(folder, prompt, what):
    (folder / prompt).mkdir(exist_ok=True)
    (folder / prompt / what).touch()


def test_samples_of_a_prompt_share_a_replica_and_replicas_share_the_load(tmp_path):
    engine = fleet(tmp_path, replicas=2)
    try:
        engine.submit([ask(prompt, index) for prompt in ("a", "b", "c", "d") for index in range(4)])
        found = collect(engine, 16)
        engine.submit([ask("a", index) for index in range(4, 8)])
        later = collect(engine, 4)
    finally:
        engine.close()
    homes = {prompt: {one.text for one in found if one.prompt == prompt} for prompt in "abcd"}
    assert all(len(pids) == 1 for pids in homes.values())
    assert len(set.union(*homes.values())) == 2
    assert {one.text for one in later} == homes["a"]
    assert {(one.engine, one.logprob_sum, one.n_tokens) for one in found} == {("scripted 1", -0.5, 2)}
    assert engine.facts["replicas"] == 2


def test_one_long_prompt_does_not_leave_the_other_replica_idle(tmp_path):
    engine = fleet(tmp_path, replicas=2)
    try:
        engine.submit([ask("a", index) for index in range(40)])
        found = collect(engine, 40)
    finally:
        engine.close()
    assert len({one.text for one in found}) == 2


@pytest.mark.parametrize(("how", "seqs"), [("crash", 16), ("kill", 8), ("out_of_memory", 8)])
def test_a_replica_that_crashes_is_restarted_and_each_request_answered_once(tmp_path, capfd, how, seqs):
    mark(tmp_path, "q5", how)
    requests = [ask(f"q{number}") for number in range(10)]
    engine = fleet(tmp_path)
    try:
        engine.submit(requests)
        found = collect(engine, 10)
    finally:
        engine.close()
    assert sorted(one.response_id for one in found) == sorted(one.response_id for one in requests)
    assert len({one.text for one in found}) == 2
    assert (engine.facts["restarts"], engine.facts["max_num_seqs"]) == (1, seqs)
    lines = capfd.readouterr().err.splitlines()
    assert len(lines) == 1
    assert re.search(
        rf"(crashed|ran out of memory) \(.*\); restarted with up to {seqs} responses at once; log .*vllm.log",
        lines[0],
    )


def test_memory_short_at_the_start_takes_half_the_batch_and_half_the_cache(tmp_path):
    (tmp_path / "start_out_of_memory").touch()
    engine = fleet(tmp_path)
    engine.close()
    assert (engine.facts["max_num_seqs"], engine.facts["kv_cache_tokens"]) == (8, 500)


def test_a_cache_that_params_give_stays(tmp_path):
    (tmp_path / "start_out_of_memory").touch()
    engine = fleet(tmp_path, kv_cache_gib=1)
    engine.close()
    assert (engine.facts["max_num_seqs"], engine.facts["kv_cache_tokens"]) == (8, 1000)


def test_a_replica_that_crashes_again_and_again_is_one_line(tmp_path):
    engine = fleet(tmp_path)
    engine.submit([ask("crash")])
    with pytest.raises(
        LimoError, match=r"crashed 4 times without a response in between.*exited with 3; more in .*log$"
    ):
        collect(engine, 1)
    engine.close()


def test_a_prompt_that_crashes_every_replica_is_one_line_even_while_others_finish(tmp_path, monkeypatch):
    monkeypatch.setattr("tasks.engines.fleet.CRASHES", 3)
    engine, found = fleet(tmp_path), []
    try:
        engine.submit([ask("crash in the end")])
        with pytest.raises(LimoError, match=r"crashed 3 times while it worked on the prompt 'crash in the end'.*log$"):
            for index in range(40):
                engine.submit([ask("a", index)])
                found += engine.finished(LIMIT_SECONDS)
        assert len(found) >= 2
    finally:
        engine.close()


@pytest.mark.parametrize(("replicas", "good", "bad"), [(1, "answers and fails", "never"), (2, "a", "crash")])
def test_what_has_finished_is_returned_before_the_failure_is_raised(tmp_path, monkeypatch, replicas, good, bad):
    monkeypatch.setattr("tasks.engines.fleet.RESTARTS", 0)
    engine = fleet(tmp_path, replicas)
    try:
        engine.submit([ask(good), ask(bad)])
        assert all(slot.replica.pipe.poll(LIMIT_SECONDS) for slot in engine._slots)
        time.sleep(0.2)
        assert [one.prompt for one in engine.finished(LIMIT_SECONDS)] == [good]
        with pytest.raises(LimoError, match=r"crashed 1 times without a response in between"):
            engine.finished(LIMIT_SECONDS)
    finally:
        engine.close()


def test_a_model_that_does_not_start_is_one_line(tmp_path):
    (tmp_path / "refuse_start").touch()
    with pytest.raises(LimoError, match=r"vLLM does not start: OSError: no config.json; more in .*vllm.log$"):
        fleet(tmp_path)


def test_cancelled_requests_are_forgotten_and_closing_ends_the_process(tmp_path):
    engine = fleet(tmp_path)
    engine.submit([ask("never"), ask("a")])
    engine.cancel([ask("never").response_id])
    pid = int(collect(engine, 1)[0].text)
    began = time.monotonic()
    engine.close()
    assert time.monotonic() - began < 2
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_replicas_that_do_not_fit_the_gpus_are_one_line():
    require_gpus(EngineParams(tensor_parallel=2, data_parallel=2), ["0", "1", "2", "3"])
    with pytest.raises(LimoError, match="tensor_parallel 4 x data_parallel 2 takes 8 GPUs, 4 are here"):
        require_gpus(EngineParams(tensor_parallel=4, data_parallel=2), ["0", "1", "2", "3"])


def test_a_vllm_for_the_cpu_uses_no_gpu(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5")
    assert gpus() == []


@pytest.mark.parametrize(
    ("says", "found"),
    [("echo 0; echo 1", ["0", "1"]), ("echo No devices were found; exit 6", []), ("echo No devices were found", [])],
)
def test_only_what_nvidia_smi_numbers_is_a_gpu(tmp_path, monkeypatch, says, found):
    monkeypatch.setattr("tasks.engines.machine._installed", lambda _: False)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    (tmp_path / "nvidia-smi").write_text(f"#!/bin/sh\n{says}\n")
    (tmp_path / "nvidia-smi").chmod(0o755)
    assert gpus() == found


def test_the_cores_are_shared_out(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2, 3, 4})
    assert core_shares(2) == [(0, 1), (2, 3, 4)]
    assert core_shares(1) == [()]
    monkeypatch.setenv("VLLM_CPU_OMP_THREADS_BIND", "0-1,4|2-3")
    assert core_shares(2) == [(0, 1, 4), (2, 3)]


def test_the_cache_on_a_cpu_is_what_the_responses_need_up_to_a_share_of_the_memory():
    # 4 layers x 4 heads x 32 x 2 (key and value) x 2 bytes: see the model's config.json.
    model = SHIPPED / "strong"
    each = cpu_cache_bytes(model, EngineParams(max_model_len=1, max_num_seqs=1), 2**40) // 257
    params = EngineParams(max_model_len=1000, max_num_seqs=10)
    assert cpu_cache_bytes(model, params, 2**40) == each * 10_256
    assert cpu_cache_bytes(model, params, each * 10_000) == each * 4_000
    assert cpu_cache_bytes(model, params.model_copy(update={"data_parallel": 2}), each * 10_000) == each * 2_000
    assert cpu_cache_bytes(model, params, 0) == each * 1_256
    assert cpu_cache_bytes(model, params.model_copy(update={"kv_cache_gib": 0.5}), 0) == 2**29
    assert cpu_cache_bytes(Path("no/such/model"), params, 2**40) is None
