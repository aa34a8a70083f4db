"""Processes that are forked from one that has computed on several threads."""

import os
import sys

from threadpoolctl import ThreadpoolController


def compute_alone() -> None:
    """Let this process, a fork, compute on one thread: it has none of the threads that its copied pools count on.

    Waiting for them it would wait for ever, as torch and scikit-learn do with OpenMP.
    """
    if "torch" in sys.modules:
        import torch

        torch.set_num_threads(1)
    ThreadpoolController().select(user_api="openmp").limit(limits=1)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=compute_alone)
