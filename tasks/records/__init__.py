"""The tables stages hand to each other: one frozen record and one polars schema a file, ids given once."""
