"""Import first: blocks scipy and scikit-learn, so that transformers and vLLM skip them (3 s less start-up).

They import both wherever they are installed, for parts that are never used here.
"""

import sys

sys.modules["sklearn"] = sys.modules["scipy"] = None  # type: ignore[assignment]
