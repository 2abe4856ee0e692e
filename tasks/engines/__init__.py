"""Sampling models: the ledger, the engines that generate, and the sampler that keeps them full and stops early."""
