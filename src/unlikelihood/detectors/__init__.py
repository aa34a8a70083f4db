"""The detectors and the wrappers around them, one file each; they do not import one another."""
