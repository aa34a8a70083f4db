"""The volume is that of what is in the middle."""

import numpy as np

from unlikelihood import TotalVolume


def ball(radius, middle=(10, 10, 10), size=21):
    at = np.stack(np.indices((size,) * 3), -1)
    return (np.linalg.norm(at - middle, axis=-1) <= radius).astype(np.float32)


def test_only_the_part_in_the_middle_counts():
    X = np.stack([ball(4), ball(4) + ball(3, (18, 18, 18)), 0 * ball(4)])[:, None]
    volume = -TotalVolume().fit(X).score_samples(X)
    assert volume.tolist() == [ball(4).sum(), ball(4).sum(), 0]


def test_what_a_thin_neck_joins_is_left_out():
    bar = ball(4)
    bar[10, 10, :] = 1
    joined = np.maximum(bar, ball(4, (10, 10, 20)))
    X = np.stack([ball(4), joined, ball(5)])[:, None]
    whole, cut = (-TotalVolume(neck=neck).fit(X).score_samples(X) for neck in (0, 3))
    assert whole[1] > 1.3 * whole[0]
    assert abs(cut[1] / cut[0] - 1) < 0.1
