"""Scoring on more processes and machines, and of what keeps arriving."""
