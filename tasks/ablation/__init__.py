"""Ablations: which samples an arm trains on, and what its scores say."""
