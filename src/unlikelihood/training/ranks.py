"""The processes that share a fit, the ranks of a process group: started here, by torchrun, or by Slurm."""

import multiprocessing
import os
import pickle
import signal
import sys
import time
import warnings
from collections.abc import Callable
from contextlib import ExitStack, redirect_stdout
from datetime import timedelta
from functools import partial
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from typing import Any

from torch import distributed

from unlikelihood.nn.shares import rank, size
from unlikelihood.progress import silent
from unlikelihood.storage.workers import follow_parent

PATIENCE = timedelta(minutes=10)  # for a rank that neither answers nor ends, as when its machine is gone
GRACE, SETTLED = 10.0, 2.0  # seconds in which a process may end, once told to, and once another has


class Lost(RuntimeError):
    """A process that shares a fit has ended, and so the fit cannot go on."""


def together(work: Callable[[], None], devices: int | None = None, nodes: int | None = None) -> None:
    """Do the work, whose fits several processes share: those that torchrun or Slurm started, or new ones.

    All of them do it, those but the first in silence.

    Parameters
    ----------
    work : callable
        What is done. It can be pickled.
    devices, nodes : int or None
        Processes on a machine, one for each device, and machines. None takes those that were started, or one.

    Raises
    ------
    ValueError
        If others were started.
    Lost
        If a process ends, or does not answer. What it raised itself is raised as it is.
    """
    for name, asked in (("devices", devices), ("nodes", nodes)):
        if asked is not None and asked < 1:
            raise ValueError(f"{name} is {asked}, expected at least 1")
    if distributed.is_torchelastic_launched() or _by_slurm():
        _join(work, devices, nodes)
    elif (nodes or 1) > 1:
        raise ValueError(f"nodes is {nodes}, expected under torchrun or Slurm, which start the processes of a machine")
    elif (devices or 1) > 1:
        _launch(partial(_join, work, devices, nodes), devices or 1)
    else:
        work()


def _launch(work: Callable[[], None], devices: int) -> None:
    """Do the work in new processes on this machine and wait for them; if one fails, all end."""
    store = distributed.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    context = multiprocessing.get_context("spawn")
    raised = context.SimpleQueue()
    # As torchrun sets it.
    shared = {
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(store.port),
        "TORCHELASTIC_USE_AGENT_STORE": "True",
        "TORCHELASTIC_RUN_ID": "unlikelihood",
        "GROUP_RANK": "0",
        "WORLD_SIZE": str(devices),
        "LOCAL_WORLD_SIZE": str(devices),
    }
    processes = [
        context.Process(
            target=_work,
            args=(work, shared | {"RANK": str(number), "LOCAL_RANK": str(number)}, raised),
            name=f"rank {number}",
        )
        for number in range(devices)
    ]
    try:
        for process in processes:
            process.start()
        while (running := [one for one in processes if one.exitcode is None]) and not any(map(_failed, processes)):
            wait([one.sentinel for one in running])
        if any(map(_failed, processes)):
            # The first to end may have missed another, which is about to.
            deadline = time.monotonic() + SETTLED
            for process in processes:
                process.join(max(0, deadline - time.monotonic()))
            raise _reason(processes, raised)
    finally:
        for process in processes:
            if process.is_alive():
                process.terminate()
        for process in processes:
            if process.pid is not None:
                process.join(GRACE)
                process.kill()
                process.join()


def _failed(process: BaseProcess) -> bool:
    return bool(process.exitcode)


def _reason(processes: list[Any], raised: Any) -> Exception:
    """Return why the processes of a fit did not end well: the cause, not what followed from it."""
    told: dict[str, Exception] = {}
    while not raised.empty():
        told |= [raised.get()]
    for error in told.values():
        if not isinstance(error, Lost):
            return error
    for process in processes:
        if process.exitcode and process.name not in told:
            return Lost(
                f"{process.name} of {len(processes)} {_end(process.exitcode)}; the same command resumes the fit"
            )
    return next(iter(told.values()))


def _end(code: int) -> str:
    by = -code if code < 0 else code - 128
    return f"was ended by {signal.Signals(by).name}" if by in set(signal.Signals) else f"ended with {code}"


def _work(work: Callable[[], None], environment: dict[str, str], raised: Any) -> None:
    os.environ.update(environment)
    follow_parent()
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    try:
        work()
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:
        raised.put((f"rank {environment['RANK']}", _plain(error)))
        sys.exit(1)


def _plain(error: Exception) -> Exception:
    """Return an error that another process can read."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error


def _join(work: Callable[[], None], devices: int | None, nodes: int | None) -> None:
    """Do the work as one rank of those that were started."""
    if not distributed.is_torchelastic_launched():
        _as_torchrun()
    world, here = int(os.environ["WORLD_SIZE"]), int(os.environ["LOCAL_WORLD_SIZE"])
    for name, asked, found in (("devices", devices, here), ("nodes", nodes, world // here)):
        if asked not in (None, found):
            raise ValueError(f"{name} is {asked}, but {found} were started: expected the same of both")
    try:
        distributed.init_process_group(timeout=PATIENCE)
        if size() != world:
            raise ValueError(f"{world} processes were to share the fit, but {size()} do")
        with ExitStack() as inside:
            if rank():
                inside.enter_context(silent())
                inside.enter_context(redirect_stdout(None))
                inside.enter_context(warnings.catch_warnings())
                warnings.simplefilter("ignore")
            work()
    except RuntimeError as error:
        if isinstance(error, distributed.DistError) or "gloo" in str(error):
            raise Lost(
                f"rank {os.environ['RANK']} of {world} waited for another in vain: that one has ended, or its machine "
                "does not answer; the same command resumes the fit"
            ) from error
        raise
    finally:
        if distributed.is_initialized():
            distributed.destroy_process_group()


def _by_slurm() -> bool:
    # Of the step that srun started; in a batch script itself there is one process, whatever the job may start.
    if int(os.environ.get("SLURM_STEP_NUM_TASKS", 1)) <= 1:
        return False
    from lightning_fabric.plugins.environments import SLURMEnvironment

    return SLURMEnvironment.detect()


def _as_torchrun() -> None:
    """Set the environment as torchrun does, by that of Slurm."""
    from lightning_fabric.plugins.environments import SLURMEnvironment

    slurm, world = SLURMEnvironment(), int(os.environ["SLURM_STEP_NUM_TASKS"])
    os.environ |= {
        "MASTER_ADDR": slurm.main_address,
        "MASTER_PORT": str(slurm.main_port),
        "RANK": str(slurm.global_rank()),
        "LOCAL_RANK": str(slurm.local_rank()),
        "GROUP_RANK": str(slurm.node_rank()),
        "WORLD_SIZE": str(world),
        "LOCAL_WORLD_SIZE": str(world // int(os.environ["SLURM_STEP_NUM_NODES"])),
    }
