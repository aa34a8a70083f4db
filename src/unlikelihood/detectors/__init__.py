"""One file a detector or wrapper; they do not import one another."""
