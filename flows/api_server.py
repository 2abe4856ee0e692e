"""vLLM's own server without what `tasks.core.startup` blocks: `python -m flows.api_server` takes its arguments."""

import runpy

if __name__ == "__main__":
    import tasks.core.startup  # noqa: F401

    runpy.run_module("vllm.entrypoints.openai.api_server", run_name="__main__", alter_sys=True)
