"""The stages of the pipeline, one module each, and the libraries they stand on."""
