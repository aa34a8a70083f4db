"""Computed tomography: scans as scanners write them, and the crops of them that sources read."""
