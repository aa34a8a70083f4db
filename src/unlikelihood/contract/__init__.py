"""What a detector is, and what those with networks, embeddings, densities or searches have in common."""
