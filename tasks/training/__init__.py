"""Full-parameter fine-tuning with Accelerate FSDP2: what a rank does, and how ranks are launched."""
