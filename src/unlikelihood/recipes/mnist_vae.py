"""The thesis' VAE-AD on MNIST: nines among the other nine digits."""
