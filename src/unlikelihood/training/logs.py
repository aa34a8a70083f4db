"""Losses while they fall, in a logger of Fabric's contract: a CSV file, TensorBoard, MLflow."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from unlikelihood.storage.extras import MissingPackage

if TYPE_CHECKING:
    from lightning_fabric.loggers import Logger

# Of each kind the module and class, what has to be installed, and what its folder is called there.
KINDS = {
    "csv": ("lightning_fabric.loggers", "CSVLogger", "lightning-fabric", "root_dir"),
    "tensorboard": ("lightning_fabric.loggers", "TensorBoardLogger", "tensorboard", "root_dir"),
    "mlflow": ("pytorch_lightning.loggers", "MLFlowLogger", "pytorch-lightning mlflow", "save_dir"),
}

_logger: ContextVar["tuple[Logger, Counter[str]] | None"] = ContextVar("_logger", default=None)


@contextmanager
def logging_to(logger: "Logger | None") -> Iterator[None]:
    """Log the loss of every training step within, of the fits in this process.

    A metric is called by the detector and the objective, such as ``VAE/loss``; of a second VAE, ``VAE 2/loss``.

    Parameters
    ----------
    logger : Logger or None
        ``CSVLogger`` or ``TensorBoardLogger`` of ``lightning_fabric.loggers``, or one of Lightning's. None changes
        nothing.

    Examples
    --------
    >>> from lightning_fabric.loggers import CSVLogger
    >>> with logging_to(CSVLogger("logs")):
    ...     pass  # fit detectors
    """
    if logger is None:
        yield
        return
    before = _logger.set((logger, Counter()))
    status = "failed"
    try:
        yield
        status = "success"
    finally:
        _logger.reset(before)
        logger.finalize(status)


def log_of(name: str) -> Callable[[Mapping[str, float], int], None]:
    """Return what logs the losses, by objective, of a step of the training that is called `name`."""
    found = _logger.get()
    if found is None:
        return lambda losses, step: None
    logger, names = found
    names[name] += 1
    called = f"{name} {names[name]}" if names[name] > 1 else name
    return lambda losses, step: logger.log_metrics({f"{called}/{key}": loss for key, loss in losses.items()}, step)


def logger_in(folder: Path, kind: str) -> "Logger":
    """Return a logger of one of the `KINDS` that writes into a folder; a MissingPackage says what it needs."""
    module, name, packages, place = KINDS[kind]
    try:
        made: Logger = getattr(import_module(module), name)(**{place: str(folder)})
    except ImportError as error:
        raise MissingPackage(f"log is {kind!r}, which needs: pip install {packages}") from error
    return made
