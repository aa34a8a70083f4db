"""Images, their sources, and the splits that an experiment is made of."""
