"""From a score back to the pool questions behind it: as a table of edges, as text, and in MLflow."""
