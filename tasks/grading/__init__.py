"""Grading: the final answer of a response, and whether it equals the gold; and the statistics of the verdicts."""
