"""Computed tomography: scans as scanners write them, and the cubes that are cut out of them."""
