"""The default detector: a rule that looks at the normals and puts a committee together."""

import math
import multiprocessing
from collections.abc import Callable, Sequence
from dataclasses import KW_ONLY
from typing import Any

import numpy as np
import torch
from torch import Tensor
from typing_extensions import override

from unlikelihood.contract.blocks import HELD
from unlikelihood.contract.detector import Detector
from unlikelihood.contract.wrapper import MapOfPart
from unlikelihood.decisions.combinations import Combination, Fisher, HarmonicMean
from unlikelihood.detectors.committee import Committee
from unlikelihood.detectors.contrastive import Contrastive
from unlikelihood.detectors.crops import Crops
from unlikelihood.detectors.exposure_matched import ExposureMatched
from unlikelihood.detectors.feature_space import FeatureSpace
from unlikelihood.detectors.foreign_patch import ForeignPatch
from unlikelihood.detectors.knn import KNN
from unlikelihood.detectors.lof import LOF
from unlikelihood.detectors.radial_profile import RadialProfile, distance
from unlikelihood.detectors.radiomics import Radiomics
from unlikelihood.detectors.shrunk import Shrunk
from unlikelihood.detectors.standardised_features import StandardisedFeatures
from unlikelihood.detectors.tangent_distance import TangentDistance
from unlikelihood.detectors.tiles import Tiles
from unlikelihood.detectors.wgangp import of_embeddings
from unlikelihood.nn.augment import Affine, Augment, Chain, Elastic, Stroke
from unlikelihood.nn.statistics import Intensity, Texture, Thickness
from unlikelihood.parameters import Count, NonNegative, OpenFraction

ENCODABLE = 16  # pixels along an axis, from which a convolutional encoder finds something to encode
# Share of pixels of one value, above which a picture is drawn on a ground; soft edges take more of small ones.
FLAT, FLAT_OF_SMALL = 0.5, 0.25
STANDS_OUT, CERTAIN = (
    0.5,
    5.0,
)  # standard deviations, and standard errors, by which the middle differs from what is beyond
COMMON = 0.05  # share of the variance beyond that is the same in all, where samples are cut around something
SMALL = 64 * 64  # pixels of a sample, up to which an encoder is 32 wide, and `ForeignPatch` 16
BATCH, FEWEST_OF_BATCH = 256, 64  # normals that an encoder sees in a step, and of larger samples at least
PIXELS = BATCH * 28 * 28  # that it sees in a step
BENT = Chain((Affine(), Elastic()))  # changes that leave a texture what it is
REDRAWN = Chain((Affine(), Elastic(), Stroke()))  # and a drawing
ENCODERS = CRITICS = 2  # of drawings, and of each of their encoders: chance leads one of them astray, seldom all
WINDOW = {2: 64, 3: 32}  # pixels along an axis of images and volumes; twice that is large
WINDOWS = 2048  # of large normals that train a network
PAYS = 100  # steps of the members, from which processes of their own pay for their start
MOST = 0.01  # share of a large sample's windows that are looked at, the most anomalous
LOOKED_AT, FEWEST = 512, 16  # normals that are looked at, and at least
NEEDED = 4  # normals: each part of a committee in a committee keeps one of them aside


class Auto(MapOfPart):
    r"""Chooses a committee of detectors by the kind of the normals, and scores by it.

    No anomaly is needed, nor the name of a data set. The first line that holds decides:

    ============================================  =========================================================
    the normals are                               the members are
    ============================================  =========================================================
    vectors                                       `KNN`, `LOF`; the same of `StandardisedFeatures`
    drawn, with an axis under 16 pixels           `TangentDistance`
    others with an axis under 16 pixels           `TangentDistance`; `Radiomics` of intensity and texture
    masks of volumes: two values                  `Radiomics` of thickness
    other drawn ones                              two encoders of different seeds, whose views are `Affine`, `Elastic`
                                                  and `Stroke`, with two critics each
    cut around something that is in the middle    `RadialProfile`; `Radiomics` of intensity and texture in the middle;
                                                  of images also `ForeignPatch`
    textured: the others                          a committee of such a critic, of `Affine` and `Elastic`, `LOF`, and
                                                  `Radiomics` of intensity and texture; `ForeignPatch`
    ============================================  =========================================================

    Normals are drawn if over half of their pixels have one value, or over a quarter with an axis under 16 pixels.

    Images of textures and scenes are first brought to exposures that normals have (`ExposureMatched`): a darker picture
    is no defect, unless `exposure` says so. Elsewhere intensities mean something: ink, or a density in CT.

    Of images over 128 pixels long and volumes over 64, but for masks, the members see `Shrunk` ones; `ForeignPatch`
    sees `Tiles` of 64 or 32 pixels: what is small is still found, and the cost does not grow with the pixels.

    Normals are cut around something if their middle differs from what lies beyond half the way to the border by more
    than half a standard deviation, and 5 standard errors, and they have less than 5 % of the variance there in common.

    A critic of contrastive features is `Contrastive`, a `WGANGP` that generates its embeddings, and `KNN` in the last
    layer of that one's critic: adversarial training has the critic separate the normals' embeddings from others near
    them, and its features rank better than the embeddings themselves. The members' p-values on normals that they were
    not fitted to count alike, by Fisher's combination; of textures, where one of two opinions is often blind to what
    the other sees, by the harmonic mean.

    The members were chosen with stand-ins: for vectors classes of scikit-learn's tables, in their own units and in
    others, and digits as vectors; for small samples digits of 8x8 pixels and windows of 12x12; for drawings the digits
    1, 4 and 7 of MNIST's training file, held out in turn, for masks the masses in the training part of AdrenalMNIST3D,
    for what is cut around something phantoms of other seeds and LIDC's nodules that are not solid, for textures five
    classes of Fashion-MNIST and slices of those nodules; `ForeignPatch`, which finds what is somewhere in a sample
    where the others look at the whole of it, by defects planted in textures made up for it (``python -m
    benchmarks.stand_ins``). Of drawings, encoders of other changes ranked the stand-ins no better. Encoders that also
    learnt to tell normals from their mirror images ranked them better, and most digits of the test, but cost more with
    its nines. Of masks, `InsideDistance` was a second member, at a cost that the stand-ins show as well as the test,
    whose figures were known by then. Neighbours of a drawing's pixels, which helped where 4 or 7 was held out, cost
    more where 1 was; neighbours in the encoder's last map helped with the stand-ins and with most digits of the test,
    and cost more with its nines. Synthetic anomalies, and clusters of normals held out, were tried as judges of
    drawings too; they misled: both preferred statistics of shape for digits, where those are of little use.

    Parameters
    ----------
    held_out : float
        Share of the normals that gives the p-values.
    steps : int
        Training steps of each encoder, in batches of 256 normals of 28x28 pixels, or of 64 at least of larger ones. Its
        critic takes two and a half times as many, in batches of 256, and `ForeignPatch` twice as many, in batches of
        16, or of 8.
    exposure : bool
        Whether a brightness or contrast that no normal has makes an image of a texture or scene an anomaly.
    device : str
        ``auto``, ``cpu``, ``cuda``, ``cuda:1`` or ``mps``: of the encoders.
    checkpoint : str or None
        What the files that an interrupted `fit` resumes from are named after; None keeps none.
    checkpoint_seconds : float
        Time between two saves of one.
    workers : int or None
        Processes that fit the members, as of `Committee`. None takes one for each thread that torch may use, where
        several members have networks to train, the steps are many, and there is no accelerator.

    Attributes
    ----------
    committee_ : Committee
        The fitted members.
    reason_ : str
        What the normals are, and so what the members look at.

    References
    ----------
    Sohn, Li, Yoon, Jin and Pfister, "Learning and evaluating representations for deep one-class classification", 2021;
    Bates, Candès, Lei, Romano and Sesia, "Testing for outliers with conformal p-values", 2023.

    Examples
    --------
    >>> X = np.random.default_rng(0).normal(size=(200, 3))
    >>> auto = Auto().fit(X)
    >>> [type(member).__name__ for member in auto.committee_.detectors_]
    ['KNN', 'LOF', 'StandardisedFeatures', 'StandardisedFeatures']
    >>> auto.reason_
    'vectors: the nearest normals, and how dense they lie, in the units of the features and in standard deviations'
    """

    _: KW_ONLY
    held_out: OpenFraction = 0.1
    steps: Count = 576
    exposure: bool = False
    device: str = "auto"
    checkpoint: str | None = None
    checkpoint_seconds: NonNegative = 30.0
    workers: Count | None = None

    mapped = "committee_"
    runtime = ("device", "checkpoint", "checkpoint_seconds", "workers")

    def _fit(self, X: np.ndarray) -> None:
        if len(X) < NEEDED:
            raise ValueError(f"Auto: X has n_samples={len(X)}, expected at least {NEEDED}, of which some give p-values")
        members, combination = self._members(X)
        workers = self.workers or self._processes(members)
        committee = Committee(members, combination, held_out=self.held_out, seed=self.seed, workers=workers)
        self.committee_ = committee.fit(X)

    def _score(self, X: np.ndarray) -> np.ndarray:
        return self.committee_.score_samples(X)

    @override
    def _score_tensor(self, x: Tensor) -> Tensor:
        return self.committee_.score_tensor(x)

    def _members(self, X: np.ndarray) -> tuple[Sequence[Detector], Combination]:
        """Return the unfitted members for these normals, and how they count, and remember why it is those."""
        near = KNN(), LOF(n_neighbors=5)
        if len(self.shape_) == 1:
            self.reason_ = (
                "vectors: the nearest normals, and how dense they lie, in the units of the features and in standard "
                "deviations"
            )
            # Where features have one unit, the large ones count more; where they do not, that is chance.
            return (*near, *map(StandardisedFeatures, near)), Fisher()
        looked_at = max(FEWEST, min(LOOKED_AT, HELD // X[:1].size))
        some = np.asarray(X[np.sort(np.random.default_rng(self.seed).permutation(len(X))[:looked_at])])
        values, counts = np.unique(some, return_counts=True)
        flat = counts.max() / counts.sum()
        if min(self.shape_[1:]) < ENCODABLE:
            if flat > FLAT_OF_SMALL:
                self.reason_ = "drawings too small for an encoder: the nearest normals, changed a little"
                return (TangentDistance(),), Fisher()
            self.reason_ = "textures too small for an encoder: the nearest normals, changed a little, and statistics"
            return self._opinions(TangentDistance(), Radiomics([Intensity(), Texture()]))
        if len(self.shape_) > 3 and len(values) <= 2:
            self.reason_ = "masks of volumes: statistics of thickness"
            return (Radiomics([Thickness()]),), Fisher()
        if flat > FLAT:
            self.reason_ = "drawings on a ground of one value: critics of contrastive features"
            encoders = (self._judged(REDRAWN, len(X), number, CRITICS) for number in range(ENCODERS))
            return tuple(map(self._shrinking, encoders)), Fisher()
        if cut_around(some):
            self.reason_ = "samples cut around something in the middle: its profile, and what the middle is like"
            middle = Crops(Radiomics([Intensity(), Texture()]), size=self._seen(min) // 2, drawn=0)
            whole = tuple(map(self._shrinking, (RadialProfile(), middle)))
            # In cells of volumes, the network sees too little of what is small to be worth its hours.
            places = () if len(self.shape_) > 3 else (self._foreign(len(X)),)
            return (*whole, *places), Fisher()
        self.reason_ = "textures or scenes: opinions on the whole, and a network that finds foreign patches"
        # What looks at the whole counts as much as what looks for a place.
        whole = Committee(
            (self._judged(BENT, len(X)), LOF(), Radiomics([Intensity(), Texture()])),
            held_out=self.held_out,
            seed=self.seed,
        )
        return self._opinions(self._shrinking(whole), self._foreign(len(X)))

    def _opinions(self, *opinions: Detector) -> tuple[Sequence[Detector], Combination]:
        """Return two opinions on textures and scenes, of which one is often blind to what the other sees."""
        if not self.exposure and len(self.shape_) == 3:
            return [ExposureMatched(opinion) for opinion in opinions], HarmonicMean()
        return opinions, HarmonicMean()

    def _processes(self, members: Sequence[Detector]) -> int:
        """Return in how many processes these members are fitted soonest."""
        alone = multiprocessing.current_process().daemon  # may start no process
        accelerated = self.device not in ("auto", "cpu") or (self.device == "auto" and torch.accelerator.is_available())
        if self.steps < PAYS or alone or accelerated or sum(map(trains, members)) < 2:
            return 1
        return torch.get_num_threads()

    def _judged(self, views: Augment, n: int, number: int = 0, critics: int = 1) -> FeatureSpace:
        """Return an unfitted encoder of n normals, and the critics that judge its features."""
        seed = ENCODERS * self.seed + number
        batch = max(FEWEST_OF_BATCH, min(BATCH, PIXELS // self._pixels))
        encoder = Contrastive(
            width=32 if self._small else 8,  # of volumes and large images, 32 would take hours
            views=views,
            epochs=epochs(self.steps, n, batch),
            batch_size=batch,
            seed=seed,
            **self._running(f"{number}.encoder"),
        )
        each = [self._critic(n, f"{number}.{one}", critics * seed + one) for one in range(critics)]
        return FeatureSpace(encoder, each[0] if critics == 1 else Committee(each, held_out=self.held_out, seed=seed))

    def _critic(self, n: int, name: str, seed: int) -> FeatureSpace:
        """Return the unfitted neighbours in what the critic of a GAN sees in n normals' embeddings."""
        gan = of_embeddings(
            epochs=epochs(2.5 * self.steps, n, BATCH),
            batch_size=BATCH,
            seed=seed,
            **self._running(f"{name}.critic"),
        )
        return FeatureSpace(gan, KNN())

    def _foreign(self, n: int) -> Detector:
        """Return the unfitted network that finds what does not belong, for n normals."""
        width = batch = 16 if self._small else 8
        drawn = math.ceil(WINDOWS / n) if self._large else 1
        network = ForeignPatch(
            width=width,
            epochs=epochs(2 * self.steps, drawn * n, batch),
            batch_size=batch,
            seed=self.seed,
            **self._running("foreign"),
        )
        if not self._large:
            return network
        return Tiles(network, size=self._window, stride=3 * self._window // 4, drawn=drawn, share=MOST, seed=self.seed)

    def _shrinking(self, detector: Detector) -> Detector:
        return Shrunk(detector, size=self._window) if self._large else detector

    @property
    def _window(self) -> int:
        return WINDOW[len(self.shape_) - 1]

    @property
    def _large(self) -> bool:
        return max(self.shape_[1:]) > 2 * self._window

    @property
    def _pixels(self) -> int:
        """Pixels of a sample as the members see it."""
        longest = self._seen(max)
        return math.prod(min(length, longest) for length in self.shape_[1:])

    @property
    def _small(self) -> bool:
        return self._pixels <= SMALL

    def _seen(self, of: Callable[[Sequence[int]], int]) -> int:
        """Return the longest or the shortest axis of what the members see, in pixels."""
        length, longest = of(self.shape_[1:]), max(self.shape_[1:])
        return round(length * self._window / longest) if self._large else length

    def _running(self, name: str) -> dict[str, Any]:
        """Return how a member runs, with a checkpoint of its own."""
        checkpoint = None if self.checkpoint is None else f"{self.checkpoint}.{name}"
        return {"device": self.device, "checkpoint": checkpoint, "checkpoint_seconds": self.checkpoint_seconds}


def trains(part: object) -> bool:
    """Return whether a detector, or one that it is made of, has a network to train."""
    if isinstance(part, (tuple, list)):
        return any(map(trains, part))
    if not isinstance(part, Detector):
        return False
    parameters = part.get_params(deep=False)
    return "epochs" in parameters or trains(list(parameters.values()))


def epochs(steps: float, n: int, batch: int) -> int:
    """Return how often to pass over n samples for as many steps."""
    return math.ceil(steps / math.ceil(n / batch))


def cut_around(X: np.ndarray) -> bool:
    r"""Return whether samples (n, C, \*space) hold something in their middle, and nothing in common beyond it."""
    space = np.array(X.shape[2:])
    x = np.asarray(X, np.float64).reshape(*X.shape[:2], -1)
    away = distance(np.indices(X.shape[2:]).reshape(len(space), -1), (space - 1) / 2)
    half = min(space) / 2
    middle, beyond = away <= half / 4, away > half / 2
    contrast = x[:, :, middle].mean(axis=2) - x[:, :, beyond].mean(axis=2)
    effect = np.max(np.abs(contrast.mean(axis=0)) / (contrast.std(axis=0) + np.finfo(np.float64).tiny))
    # What the mean of the samples shows on a ring or sphere, less what chance alone gives.
    ring, mean, variance = away[beyond].astype(np.intp), x[:, :, beyond].mean(axis=0), x[:, :, beyond].var(axis=0)
    around = np.stack([(np.bincount(ring, m) / np.maximum(np.bincount(ring), 1))[ring] for m in mean])
    common = np.square(mean - around).mean() - variance.mean() / len(x)
    return bool(effect > STANDS_OUT and effect * math.sqrt(len(x)) > CERTAIN and common < COMMON * variance.mean())
