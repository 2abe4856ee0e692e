"""Imported before transformers or vLLM: keeps scipy and scikit-learn away from them.

They import both wherever they are installed, for parts that are never used here: three seconds of each process.
"""

import sys

sys.modules["sklearn"] = sys.modules["scipy"] = None  # type: ignore[assignment]
