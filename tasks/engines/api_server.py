"""vLLM's own server, without what `tasks.lean` keeps away: `python -m tasks.engines.api_server` takes its arguments."""

import runpy

if __name__ == "__main__":
    import tasks.lean  # noqa: F401

    runpy.run_module("vllm.entrypoints.openai.api_server", run_name="__main__", alter_sys=True)
