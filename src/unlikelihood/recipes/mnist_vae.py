"""The thesis' VAE-AD on MNIST: nines among the other nine digits."""

from dataclasses import replace

from unlikelihood.data.digits import Digits
from unlikelihood.data.mnist import MNIST
from unlikelihood.data.source import DataUnavailable
from unlikelihood.data.splits import Split
from unlikelihood.detectors.intensity import TotalIntensity
from unlikelihood.detectors.isolation import IsolationForest
from unlikelihood.detectors.knn import KNN
from unlikelihood.detectors.lof import LOF
from unlikelihood.detectors.pca import PCAResidual
from unlikelihood.detectors.vae import VAE
from unlikelihood.experiment import Experiment
