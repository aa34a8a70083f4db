"""What a detector is worth on a split, and experiments over several seeds."""
