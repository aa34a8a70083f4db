"""The one training loop, with its batches, checkpoints, devices, random seeds and alarms."""
