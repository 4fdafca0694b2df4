"""What training makes small, and the Dice that it is judged by."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn.functional import binary_cross_entropy_with_logits

if TYPE_CHECKING:
    from torch import Tensor

    from fringemap.settings import TrainSettings

# Pixels' worth of agreement that is added to both sides of the soft Dice: without spots it would be 0 / 0.
_SMOOTH = 1.0


def compute_loss(logit: Tensor, label: Tensor, weight: Tensor, *, settings: TrainSettings) -> Tensor:
    """Loss of a batch, the one that the settings name.

    Parameters
    ----------
    logit, label, weight
        (n, 1, rows, cols); label 0 or 1; pixels of weight 0 count for nothing.
    """
    parts = []
    if settings.loss in ("entropy", "both"):
        parts.append(cross_entropy(logit, label, weight, positive_weight=settings.positive_weight))
    if settings.loss in ("dice", "both"):
        parts.append(soft_dice_loss(logit, label, weight))
    return torch.stack(parts).sum()


def cross_entropy(logit: Tensor, label: Tensor, weight: Tensor, *, positive_weight: float = 1.0) -> Tensor:
    """Weighted mean of the binary cross-entropy; spots' pixels count ``positive_weight`` times as much."""
    factor = torch.tensor(positive_weight, device=logit.device)
    each = binary_cross_entropy_with_logits(logit, label, pos_weight=factor, reduction="none")
    return (weight * each).sum() / weight.sum().clamp(min=1.0)


def soft_dice_loss(logit: Tensor, label: Tensor, weight: Tensor) -> Tensor:
    """1 - Dice with probabilities in place of decisions, over the whole batch.

    Over the batch and not each crop: a crop without a spot would have a loss that no better network makes smaller.
    """
    probability = torch.sigmoid(logit)
    shared = (weight * probability * label).sum()
    total = (weight * (probability + label)).sum()
    return 1.0 - (2.0 * shared + _SMOOTH) / (total + _SMOOTH)


def count_overlap(logit: Tensor, label: Tensor, weight: Tensor, *, threshold: float = 0.0) -> Tensor:
    """Pixels that are true, found and both: a tensor of three counts; pixels of weight 0 are left out."""
    found, true, counted = logit > threshold, label > 0.5, weight > 0
    return torch.stack([(true & counted).sum(), (found & counted).sum(), (found & true & counted).sum()])


def dice_of(counts: Tensor) -> float:
    """2 |A and B| / (|A| + |B|) from the counts of ``count_overlap``; 1 where nothing is true and nothing found."""
    true, found, both = (float(n) for n in counts)
    return 2.0 * both / (true + found) if true + found > 0 else 1.0
