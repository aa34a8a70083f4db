"""Evaluation of a detector on a split, and experiments of detectors over several seeds."""
