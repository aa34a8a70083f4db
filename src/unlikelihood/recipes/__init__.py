"""Experiments that can be reproduced by name, one small file each."""
