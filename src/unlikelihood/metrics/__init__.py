"""Metrics, their confidence intervals and power, and measures of how good a generator is."""
