"""What starts and ends local servers, and which folder they serve; that they serve is in test_real_servers.py."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from flows import serve
from flows.serve import Local, command, environment, find_model, ready, start_servers, stop, wait_until_up, why
from tasks.core.errors import LimoError
from tasks.engines.params import EngineParams
from tests.builders import SHIPPED, make_model, write_models
from tests.waiting import wait_until

PARAMS = EngineParams(dtype="float32", max_model_len=512, max_num_seqs=8, kv_cache_gib=0.5, tensor_parallel=2)
ALONE = EngineParams()


def words(params, *, on_cpu=False):
    return " ".join(command("strong", SHIPPED / "strong", params, host="127.0.0.1", port=8000, on_cpu=on_cpu))


def test_a_server_has_the_settings_of_params():
    line = words(PARAMS)
    for part in (
        "--model tasks/shipped/strong --served-model-name strong --host 127.0.0.1 --port 8000",
        "--dtype float32 --max-num-seqs 8 --tensor-parallel-size 2",
        "--max-model-len 512 --kv-cache-memory-bytes 536870912",
        "--generation-config vllm",
    ):
        assert part in line
    assert "enforce-eager" not in line
    assert "--max-model-len auto" in words(ALONE)
    assert "--enforce-eager --no-enable-chunked-prefill" in words(ALONE, on_cpu=True)


def test_replicas_on_a_cpu_share_its_cores(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.delenv("VLLM_ENABLE_V1_MULTIPROCESSING", raising=False)
    cores = len(os.sched_getaffinity(0))
    shared = environment(2, ALONE, on_cpu=True)
    assert shared["OMP_NUM_THREADS"] == str(max(1, cores // 2))
    assert shared["VLLM_ENABLE_V1_MULTIPROCESSING"] == "0"
    assert environment(2, PARAMS, on_cpu=True)["VLLM_ENABLE_V1_MULTIPROCESSING"] == "1"
    assert "OMP_NUM_THREADS" not in environment(2, ALONE, on_cpu=False)


def test_what_to_put_into_params_is_valid_there():
    lines = ready("strong", ["http://127.0.0.1:8000/v1", "http://127.0.0.1:8001/v1"]).splitlines()
    whole, single = (EngineParams(**yaml.safe_load(line)["engine"]) for line in lines[1:3])
    assert whole.base_urls == single.of("strong").base_urls
    assert (whole.kind, single.kind, single.of("strong").kind) == ("openai", "vllm", "openai")


def test_the_kv_cache_of_a_cpu_is_shared_among_replicas(monkeypatch):
    monkeypatch.delenv("VLLM_CPU_KVCACHE_SPACE", raising=False)
    one, four = (serve._with_cache(ALONE, SHIPPED / "strong", copies).kv_cache_gib for copies in (1, 100_000))
    assert 0 < four < one


def test_a_port_that_is_taken_is_one_line(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(LimoError, match=f"127.0.0.1:{port}: cannot be served on .* give another --port"):
            start_servers("strong", SHIPPED / "strong", ALONE, host="127.0.0.1", ports=[port], logs=tmp_path)


@pytest.mark.parametrize("port", [0, 65536, 70000])
def test_a_port_that_there_is_not_is_one_line(tmp_path, port):
    with pytest.raises(LimoError, match=f"127.0.0.1:{port}: ports go from 1 to 65535; give another --port"):
        start_servers("strong", SHIPPED / "strong", ALONE, host="127.0.0.1", ports=[port], logs=tmp_path)


def test_a_server_that_does_not_start_says_why(tmp_path):
    log = tmp_path / "log"
    log.write_text(
        "(APIServer pid=7) INFO 11-24 17:31:10 [core.py:133] ready soon\n"
        "(EngineCore pid=9) ERROR 11-24 17:31:10 [core.py:133] ValueError: no such dtype\n"
        "(APIServer pid=7) RuntimeError: Engine core initialization failed. See root cause above.\n"
    )
    assert why(log) == "ValueError: no such dtype"
    with pytest.raises(LimoError, match=f"vLLM does not start: ValueError: no such dtype; more in {log}"):
        wait_until_up([Local("http://127.0.0.1:9/v1", ended(), log)])


def ended():
    process = subprocess.Popen([sys.executable, "-c", "raise SystemExit(1)"])
    process.wait()
    return process


FAMILY = """
import signal, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print(child.pid, flush=True)
signal.signal(signal.SIGTERM, lambda *_: (child.terminate(), sys.exit(0)) if {dies} else None)
time.sleep(600)
"""


@pytest.mark.parametrize("dies", [True, False])
def test_stopping_leaves_no_process_behind(dies, monkeypatch, tmp_path):
    monkeypatch.setattr("flows.serve.STOP_SECONDS", 1.0)
    process = subprocess.Popen(
        [sys.executable, "-c", FAMILY.format(dies=dies)], stdout=subprocess.PIPE, start_new_session=True
    )
    worker = int(process.stdout.readline())
    stop([Local("http://127.0.0.1:9/v1", process, tmp_path / "log")])
    assert process.returncode is not None
    wait_until(lambda: not running(worker))


STARTS = """
import sys, time
from pathlib import Path
from flows.serve import _start
print(_start([sys.executable, "-c", "import time; time.sleep(600)"], {}, "", Path(sys.argv[1])).process.pid, flush=True)
time.sleep(600)
"""


def test_a_server_ends_with_the_command_that_started_it_even_when_that_is_killed(tmp_path):
    starter = subprocess.Popen([sys.executable, "-c", STARTS, str(tmp_path / "log")], stdout=subprocess.PIPE)
    server = int(starter.stdout.readline())
    assert Path(f"/proc/{server}").exists()
    starter.send_signal(signal.SIGKILL)
    starter.wait()
    wait_until(lambda: not running(server))


def running(pid):
    """Whether a process still runs; one that has ended and is not yet collected does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.fixture
def params(tmp_path):
    path = tmp_path / "params.yaml"
    path.write_text(yaml.safe_dump({"base": {"models": {"strong": {"shipped": "strong"}}}}))
    return path


def test_a_model_that_no_stage_has_resolved_yet(params, tmp_path):
    served = find_model("strong", params, artifacts=tmp_path)
    assert (served.name, (served.folder / "config.json").exists()) == ("strong", True)


def test_a_model_as_the_stages_know_it(params, tmp_path):
    write_models(tmp_path / "base/models.json", make_model("strong", tmp_path))
    assert find_model("strong", params, artifacts=tmp_path).folder == tmp_path


def test_any_folder_under_a_name_and_the_trained_model(params, tmp_path):
    assert find_model(str(SHIPPED / "base"), params).name == "base"
    assert find_model(str(SHIPPED / "base"), params, "mine").name == "mine"
    write_models(tmp_path / "train/model.json", make_model("trained", tmp_path))
    assert find_model("trained", params, artifacts=tmp_path).folder == tmp_path


@pytest.mark.parametrize(
    ("model", "said"), [("weak", "no model `weak` under base.models"), ("no/such", "no config.json")]
)
def test_what_is_no_model_is_one_line(params, model, said):
    with pytest.raises(LimoError, match=said):
        find_model(model, params)
