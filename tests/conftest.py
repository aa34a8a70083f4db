import os
from pathlib import Path

import numpy as np
import pytest
import torch
from threadpoolctl import threadpool_limits

from tiny import normals
from unlikelihood import VAE, PCAResidual

# Tests run one process a core; threads on top of that only get in each other's way, unless asked for.
if "OMP_NUM_THREADS" not in os.environ:
    torch.set_num_threads(1)
    threadpool_limits(1)
    os.environ["OMP_NUM_THREADS"] = "1"  # of the processes that tests start

# What these find out depends on rounding, so that `make test-portable` runs them as other processors would.
TRAINS = {
    "test_architecture",
    "test_auto",
    "test_contract",
    "test_contrastive",
    "test_corrections",
    "test_crops",
    "test_densities",
    "test_faults",
    "test_foreign_patch",
    "test_gan",
    "test_generation",
    "test_maps",
    "test_nade",
    "test_medmnist_table",
    "test_radiomics",
    "test_ranks",
    "test_reproduction",
    "test_real_nvp",
    "test_search",
    "test_torch_encoder",
    "test_training",
    "test_vae",
    "test_vae_surface",
}


def pytest_xdist_auto_num_workers() -> int:
    """Return one more than there are cores, for tests also wait: for processes that they start, and for time-outs."""
    return (os.cpu_count() or 1) + 1


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.stem in TRAINS:
            item.add_marker(pytest.mark.trains)


@pytest.fixture(autouse=True)
def same_numbers_every_time() -> None:
    """Seed what a test draws without saying from where, so that it fails always or never."""
    torch.default_generator.manual_seed(0)  # torch.manual_seed files a stack trace for CUDA, which takes milliseconds
    np.random.seed(0)


@pytest.fixture
def mnist_path() -> Path:
    path = Path(os.environ.get("UNLIKELIHOOD_DATA", "")) / "mnist"
    if not (path / "train-images-idx3-ubyte.gz").exists():
        pytest.skip("MNIST is not at hand: UNLIKELIHOOD_DATA does not point to it")
    return path


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Folders of a network and a statistic of images (1, 8, 8), fitted and calibrated."""
    folder = tmp_path_factory.mktemp("models")
    X = normals((1, 8, 8), n=60)
    VAE(latent=2, width=2, epochs=1, batch_size=16).fit(X[:40]).calibrate(X[40:]).save(folder / "vae")
    PCAResidual(3).fit(X[:40]).calibrate(X[40:]).save(folder / "pca")
    return folder
