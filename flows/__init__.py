"""The doors on top of the stages: the command line, the Prefect flows."""
