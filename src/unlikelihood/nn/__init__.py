"""Networks, likelihoods, priors, flows, noise schedules and augmentations, each for any number of spatial axes."""
