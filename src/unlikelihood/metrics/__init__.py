"""Figures of merit, how sure they are, and how many cases they take."""
