"""From questions to samples: what is asked for, when an outcome is certain, and what is told meanwhile."""
