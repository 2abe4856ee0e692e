"""From questions to samples: which requests are sent, when an outcome is certain, and the progress that is shown."""
