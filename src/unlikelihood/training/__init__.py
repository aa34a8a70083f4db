"""The one training loop, its checkpoints, devices and random numbers."""
