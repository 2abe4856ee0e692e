"""What `pull` and `benchmarks` read from, and how `clean` and `decontaminate` compare texts."""
