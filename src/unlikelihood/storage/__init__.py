"""Model folders and other files: written whole or not at all, and read without running anything."""
