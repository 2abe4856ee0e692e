"""The response ledger: every response once, on disk as it finishes, never lost and never generated again."""
