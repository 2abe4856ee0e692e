"""What generates: vLLM on this machine or on Ray, servers, behind one small protocol; prompts and sampling params."""
