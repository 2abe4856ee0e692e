"""Promotion in the MLflow model registry: challenger to champion behind a gate, and back again.

It acts on the registry, not on artifacts, so it is no DVC stage.
"""
