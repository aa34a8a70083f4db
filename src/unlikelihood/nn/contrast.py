"""Telling samples apart: a task that gives a network features without labels."""

import torch
import torch.nn.functional as F
from torch import Tensor


def contrast(embedding: Tensor, temperature: float) -> Tensor:
    """Return the contrastive loss in nats, averaged, of unit embeddings (2B, F) whose halves are partners in order."""
    n = len(embedding)
    similarity = embedding @ embedding.T / temperature
    similarity = similarity.masked_fill(torch.eye(n, dtype=torch.bool, device=embedding.device), -torch.inf)
    partner = (torch.arange(n, device=embedding.device) + n // 2) % n
    return F.cross_entropy(similarity, partner)
