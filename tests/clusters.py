"""A Ray cluster for tests, that says and does no more than it has to."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AUTH_MODE": "disabled",
    "RAY_worker_niceness": "0",  # so that tests beside this one do not starve its workers
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "PYTHONWARNINGS": "ignore",
}


@contextmanager
def local_cluster() -> Iterator[None]:
    """Be part of a cluster of this machine alone, with two CPUs."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in QUIET.items():
            patch.setenv(name, value)
        import ray

        ray.init(
            address="local", num_cpus=2, include_dashboard=False, object_store_memory=80 * 2**20, log_to_driver=False
        )
        yield
        ray.shutdown()
