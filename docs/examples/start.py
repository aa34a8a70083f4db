from unlikelihood import VAE, Digits, evaluate
from unlikelihood.report import plots

split = Digits(anomalous=(9,)).split()  # MNIST() is the real thing
print(split.train, split.test)

detector = VAE(latent=8, width=8, epochs=20, learning_rate=3e-3).fit(split.train.pixels)
print(detector.score_samples(split.test.pixels)[:3])  # higher = more normal, in nats

evaluation = evaluate(detector, split)
print(evaluation)
plots.score_densities(evaluation.label, evaluation.score).savefig("start.svg")
