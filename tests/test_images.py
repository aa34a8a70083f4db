"""Images refuse what does not fit together, and a cut leaks nothing from one part to another."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st

from unlikelihood.data.images import Images, windowed
from unlikelihood.data.splits import Split, balance, draw, partition


def images(n, *, label=0, shape=(1, 2, 2), first=0, **known):
    """Return n images that hold their number and are named after it."""
    number = np.arange(first, first + n)
    pixels = np.broadcast_to(number.reshape(-1, *(1 for _ in shape)), (n, *shape))
    known = {"label": np.full(n, label), "name": number.astype(str), **known}
    return Images(pixels=pixels, **known)


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int16, np.float64, np.float32])
def test_pixels_become_float32_without_a_change_of_scale(dtype):
    pixels = np.array([[0, 1], [1, 0]]).astype(dtype)
    held = Images(pixels=pixels).pixels
    assert held.dtype == np.float32
    np.testing.assert_array_equal(held, pixels)


@pytest.mark.parametrize(
    ("known", "message"),
    [
        ({"pixels": np.zeros((4, 28, 28))}, r"pixels of shape \(4, 28, 28\).*\[:, None\]"),
        ({"pixels": np.zeros(4)}, r"pixels of shape \(4,\): expected \(N, C, H, W\)"),
        ({"pixels": np.array([["a"]])}, r"pixels of type <U1: expected real numbers"),
        ({"pixels": np.zeros((4, 2), dtype=complex)}, r"pixels of type complex128"),
        ({"label": [0, 1]}, r"label of shape \(2,\): expected \(4,\)"),
        ({"label": [0, 1, 2, -1]}, r"label holds \[-1, 2\]: expected 0 \(normal\) or 1"),
        ({"label": [[0], [1], [0], [1]]}, r"label of shape \(4, 1\)"),
        ({"group": ["a", "b", None, "c"]}, r"group of type object: expected integers or text"),
        ({"group": [1.0, 2.0, np.nan, 3.0]}, r"group of type float64"),
        ({"name": ["a"]}, r"name of shape \(1,\)"),
        ({"spacing": (1.0,)}, r"spacing=\(1.0,\): expected a positive size in mm for each of 2 spatial axes"),
        ({"spacing": (1.0, 0.0)}, r"spacing=\(1.0, 0.0\)"),
        ({"spacing": (1.0, np.inf)}, r"spacing=\(1.0, inf\)"),
        ({"pixels": np.zeros((4, 3)), "spacing": ()}, r"spacing=\(\).*0 spatial axes"),
        ({"orientation": "SPL"}, r"orientation='SPL': expected a letter for each of 2 spatial axes"),
        ({"orientation": "LR"}, r"orientation='LR'"),
        ({"orientation": "PX"}, r"orientation='PX'"),
        ({"pixels": np.zeros((4, 3)), "orientation": ""}, r"orientation=''.*0 spatial axes"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(known, message):
    with pytest.raises((ValueError, TypeError), match=message):
        Images(**{"pixels": np.zeros((4, 1, 3, 3)), **known})


@pytest.mark.parametrize(
    ("index", "chosen"),
    [
        (2, [2]),
        (slice(1, 3), [1, 2]),
        ([3, 0], [3, 0]),
        (np.array([True, False, False, True]), [0, 3]),
        ([], []),
    ],
)
def test_an_index_chooses_everything_that_is_known(index, chosen):
    whole = images(4, label=1, group=np.array(list("abcd")), spacing=(1, 2), orientation="PL")
    part = whole[index]
    np.testing.assert_array_equal(part.pixels[:, 0, 0, 0], chosen)
    assert part.name.tolist() == [str(number) for number in chosen]
    assert part.group.tolist() == ["abcd"[number] for number in chosen]
    assert len(part) == len(part.label) == len(chosen)
    assert part.shape == (1, 2, 2)
    assert part.spacing == (1.0, 2.0)
    assert part.orientation == "PL"


def test_a_sequence_ends():
    assert [one.name.item() for one in images(3)] == ["0", "1", "2"]


def test_normal_and_anomalous_share_the_images_out():
    whole = Images(pixels=np.arange(4)[:, None], label=np.array([0, 1, 1, 0]))
    assert whole.normal.pixels.ravel().tolist() == [0, 3]
    assert whole.anomalous.pixels.ravel().tolist() == [1, 2]
    with pytest.raises(ValueError, match="label=None"):
        _ = Images(pixels=np.zeros((1, 1))).normal


def test_a_memory_map_stays_one_through_a_slice(tmp_path):
    np.save(tmp_path / "a.npy", np.arange(24, dtype=np.uint8).reshape(6, 1, 2, 2))
    mapped = Images(pixels=np.load(tmp_path / "a.npy", mmap_mode="r"))
    assert isinstance(mapped.pixels, np.memmap)
    assert isinstance(mapped[2:5].pixels, np.memmap)
    assert mapped.pixels.dtype == np.uint8
    assert mapped[[5, 0]].pixels.dtype == np.float32
    assert mapped[[5, 0]].pixels[:, 0, 0, 0].tolist() == [20, 0]


def test_nothing_can_be_replaced():
    with pytest.raises(AttributeError):
        images(2).label = None


@given(st.floats(-2000, 2000), st.floats(1, 4000))
def test_a_window_maps_its_ends_to_0_and_1_and_clips(low, width):
    pixels = np.array([low - width, low, low + width / 2, low + width, low + 2 * width])
    np.testing.assert_allclose(windowed(pixels, (low, low + width)), [0, 0, 0.5, 1, 1], atol=1e-3)


@pytest.mark.parametrize("window", [(1, 1), (2, 1), (0, np.nan)])
def test_an_empty_window_is_refused(window):
    with pytest.raises(ValueError, match="low < high"):
        windowed(np.zeros(3), window)


SOUND = {"train": images(4), "calibration": images(2, first=10), "test": images(3, label=1, first=20)}


@pytest.mark.parametrize(
    ("part", "message"),
    [
        ({"train": images(2, label=1)}, r"train holds 2 anomalies, '0', '1': expected normals only"),
        ({"calibration": images(7, label=1, first=10)}, r"calibration holds 7 anomalies.*'14', …"),
        ({"test": images(2, first=3)}, r"train and test share name '3': expected no name in two parts"),
        ({"calibration": images(2, first=21)}, r"calibration and test share name '21', '22'"),
        ({"test": images(2, first=30, shape=(1, 2, 3))}, r"train has images of shape \(1, 2, 2\), test of"),
        ({"test": Images(np.zeros((2, 1, 2, 2)))}, r"test.label=None"),
    ],
)
def test_a_split_refuses_leaks_and_names_them(part, message):
    Split(**SOUND)
    with pytest.raises(ValueError, match=message):
        Split(**(SOUND | part))


def test_a_split_refuses_a_shared_group_another_spacing_and_another_orientation():
    def part(first, group, spacing=(1, 1), orientation="PL"):
        return images(2, first=first, group=np.array(group), spacing=spacing, orientation=orientation)

    train, calibration = part(0, [1, 2]), part(2, [3, 3])
    Split(train=train, calibration=calibration, test=part(4, [4, 5], orientation=None))
    with pytest.raises(ValueError, match="train and test share group 2"):
        Split(train=train, calibration=calibration, test=part(4, [2, 5]))
    with pytest.raises(ValueError, match=r"train has spacing \(1.0, 1.0\) mm, test \(2.0, 1.0\) mm"):
        Split(train=train, calibration=calibration, test=part(4, [4, 5], (2, 1)))
    with pytest.raises(ValueError, match="train has orientation PL, test PR"):
        Split(train=train, calibration=calibration, test=part(4, [4, 5], orientation="PR"))


def test_normals_need_no_labels():
    plain = Images(pixels=np.zeros((2, 3)))
    assert len(Split(train=plain, calibration=plain, test=Images(plain.pixels, label=[0, 1])).train) == 2


def part_names(split):
    return [set(part.name) for part in (split.train, split.calibration, split.test)]


@settings(deadline=None)
@given(
    label=st.lists(st.integers(0, 1), min_size=5, max_size=60).filter(lambda label: label.count(0) >= 5),
    groups=st.integers(1, 20),
    seed=st.integers(0, 2**31),
    balanced=st.booleans(),
)
def test_a_partition_keeps_groups_whole_and_repeats_itself(label, groups, seed, balanced):
    group = np.random.default_rng(seed).integers(groups, size=len(label))
    whole = Images(pixels=np.zeros((len(label), 3)), label=label, group=group, name=np.arange(len(label)).astype(str))
    try:
        split = partition(whole, seed=seed, balanced=balanced)
    except ValueError:
        reject()  # too few groups of normals alone, so that none is left to train on
    assert part_names(split) == part_names(partition(whole, seed=seed, balanced=balanced))
    assert not set(split.train.group) & set(split.test.group)  # and Split itself has looked at every pair
    if balanced:
        assert 2 * split.test.label.sum() == len(split.test)
    else:
        assert set.union(*part_names(split)) == set(whole.name)


@given(n=st.integers(5, 200), seed=st.integers(0, 100))
def test_a_partition_without_groups_has_its_fractions(n, seed):
    split = partition(images(n), fractions=(0.5, 0.2, 0.3), seed=seed)
    for part, fraction in zip((split.train, split.calibration, split.test), (0.5, 0.2, 0.3), strict=True):
        assert abs(len(part) - fraction * n) <= 1


def test_every_anomaly_is_tested_and_the_seed_matters():
    whole = Images(pixels=np.arange(100)[:, None], label=np.arange(100) % 4 == 0)
    first, second = (partition(whole, seed=seed) for seed in (0, 1))
    assert first.test.label.sum() == 25
    assert not np.array_equal(first.train.pixels, second.train.pixels)


@pytest.mark.parametrize("fractions", [(0.5, 0.5), (0.5, 0.4, 0.2), (1.2, -0.1, -0.1)])
def test_fractions_sum_to_one(fractions):
    with pytest.raises(ValueError, match="fractions="):
        partition(images(9), fractions=fractions)


def test_a_partition_needs_normals_and_takes_what_has_no_label_for_them():
    split = partition(Images(pixels=np.zeros((10, 1))))
    assert split.counts == {"train": 8, "calibration": 2, "test, normal": 0, "test, anomalous": 0}
    assert split.summary().startswith("no labels: all are taken as normal\n       8 train")
    with pytest.raises(ValueError, match="at least one normal"):
        partition(images(3, label=1))


def test_nothing_is_left_out_of_a_split_without_being_counted():
    whole = Images(np.arange(40.0)[:, None], label=np.arange(40) % 4 == 0, left_out={"unreadable": 2, "none": 0})
    split = partition(whole, balanced=True, fractions=(0.2, 0, 0.8))
    assert split.counts["test, normal"] == split.counts["test, anomalous"] == 10
    assert split.left_out == {"unreadable": 2, "images of the more frequent kind, for a balanced test": 14}
    assert sum(split.counts.values()) == 42
    tested = partition(whole, fractions=(0, 0, 1))
    assert (len(tested.train), len(tested.calibration), len(tested.test)) == (0, 0, 40)
    with pytest.raises(ValueError, match="train is empty, and so are"):
        Split(whole[:0], whole[:0], whole[:0])


def test_published_parts_are_kept_and_groups_of_train_stay_whole():
    part = np.repeat(["train", "test"], [20, 10])
    whole = Images(np.arange(30.0)[:, None], label=np.arange(30) % 5 == 4, part=part, group=np.arange(30) // 2)
    split = partition(whole)
    assert split.test.pixels.ravel().tolist() == list(range(20, 30))
    assert len(split.train) + len(split.calibration) == 16
    assert len(split.calibration) > 0
    assert split.left_out == {"anomalies that are not in the published test": 4}
    with_own = partition(replace(whole, part=np.where(np.arange(30) < 6, "calibration", part)))
    assert with_own.calibration.pixels.ravel().tolist() == [0, 1, 2, 3, 5]
    with pytest.raises(ValueError, match="part holds 'dev': expected train, calibration or test"):
        replace(whole, part=np.full(30, "dev"))


def test_groups_that_leave_nothing_to_train_on_are_counted():
    mixed = images(6, group=np.array(list("aaabbc")), label=[0, 1, 0, 1, 0, 1])
    with pytest.raises(ValueError, match=r"train is empty: a group \(patient\).*as 3 of 3 do"):
        partition(mixed)


def test_balance_keeps_all_of_the_rarer_kind():
    whole = Images(pixels=np.arange(10)[:, None], label=[0] * 7 + [1] * 3)
    chosen = balance(whole, np.random.default_rng(0))
    assert len(chosen.normal) == 3
    assert chosen.anomalous.pixels.ravel().tolist() == [7, 8, 9]


@given(kind=st.lists(st.integers(0, 4), max_size=60), data=st.data())
def test_a_draw_is_as_equal_as_the_counts_allow(kind, data):
    kind = np.array(kind, dtype=int)
    n = data.draw(st.integers(0, len(kind)))
    index = draw(kind, n, np.random.default_rng(0))
    assert len(set(index)) == n
    taken = np.bincount(kind[index], minlength=5)
    there = np.bincount(kind, minlength=5)
    # A kind that gave less than another has none left, but for the last round, which need not go round.
    assert ((taken >= taken.max() - 1) | (taken == there)).all()
    with pytest.raises(ValueError, match="at most"):
        draw(kind, len(kind) + 1, np.random.default_rng(0))
