"""Layers and networks, each for any number of spatial axes."""
