"""The loop around vLLM, without vLLM: when results are sent, and what is sent when it fails."""

import queue
import time
from pathlib import Path
from types import SimpleNamespace

from tasks.engines import vllm_worker
from tasks.engines.params import EngineParams, SamplingParams
from tasks.engines.protocol import Close, Failed, Generate, Results, Setup, make_request


class Engine(vllm_worker._Vllm):
    """One response a step; the prompt `fails` ends it."""

    def __init__(self, setup):
        self._names, self.done, self.started, self.steps = {}, [], "started", 0
        self._engine = SimpleNamespace(step=self._one, engine_core=SimpleNamespace(shutdown=lambda: None))

    def _add(self, request):
        self._names[request.response_id] = request.prompt

    def _one(self):
        key, prompt = next(iter(self._names.items()))
        if prompt == "fails":
            raise MemoryError("all of it")
        best = SimpleNamespace(text=prompt, finish_reason="stop", token_ids=[1], cumulative_logprob=-0.5)
        return [SimpleNamespace(request_id=key, outputs=[best], prompt_token_ids=[1])]


def serve(monkeypatch, *prompts):
    monkeypatch.setattr(vllm_worker, "_Vllm", Engine)
    monkeypatch.setattr(vllm_worker, "SEND_SECONDS", 60)
    inbox, sent = queue.SimpleQueue(), []

    def send(report):
        sent.append(report)
        if isinstance(report, Results):
            inbox.put(Close())

    inbox.put(Generate([make_request("m_a", prompt, SamplingParams(), 0) for prompt in prompts]))
    vllm_worker.serve(inbox, send, Setup(Path(), EngineParams(), Path()))
    return [[one.text for one in each.finished] if isinstance(each, Results) else each for each in sent]


def test_the_last_results_are_sent_at_once_and_together(monkeypatch):
    began = time.monotonic()
    assert serve(monkeypatch, "a", "b") == ["started", ["a", "b"]]
    assert time.monotonic() - began < 30


def test_what_finished_is_sent_before_the_failure(monkeypatch):
    assert serve(monkeypatch, "a", "fails") == ["started", ["a"], Failed("MemoryError: all of it", out_of_memory=True)]
