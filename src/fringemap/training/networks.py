"""The networks: a picture of a diffractogram in, the logit of "belongs to a spot" for each of its pixels out."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import torch
from torch import nn

from fringemap.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from fringemap.settings import NetworkSettings

N_CHANNELS = {"all": 3, "both": 2, "largest": 1}
"""Channels of a pattern that a network sees, by the setting."""

_ACTIVATIONS = {"relu": nn.ReLU, "elu": nn.ELU, "gelu": nn.GELU}
_BASE_WIDTH = {"compact": 16, "paper": 128}
# Of the compact network, in units of its first; the coarsest level need not double once more.
_COMPACT_WIDTHS = (1.0, 2.0, 4.0, 6.0, 8.0)
_PAPER_WIDTHS = (1.0, 2.0, 4.0, 8.0, 16.0)
# Few pixels belong to a spot: a network that knows nothing yet says so.
_FIRST_LOGIT = -3.0


class UNet(nn.Module):
    """Encoder and decoder of five levels with connections between them.

    Parameters
    ----------
    widths
        Filters of each level, the finest first.
    packing
        Cells of so many pixels a side become channels before the first convolution, and pixels again after the last:
        nothing is lost, and the costly finest level works on a smaller picture.
    normalised
        Batch normalisation after each convolution.
    """

    def __init__(self, settings: NetworkSettings, widths: Sequence[int], *, packing: int, normalised: bool) -> None:
        super().__init__()
        if settings.kernel % 2 == 0:
            raise SettingsError(f"kernel = {settings.kernel} px has no middle; take an odd one, such as 3 or 5")
        self.n_channels = N_CHANNELS[settings.channels]
        self.stride = packing * 2 ** (len(widths) - 1)
        self.packing = packing
        dropouts = _dropouts(settings, len(widths))
        before = (self.n_channels * packing**2, *widths[:-1])
        self.encoder = nn.ModuleList(
            _convolutions(n_in, n_out, settings, dropout, normalised=normalised)
            for n_in, n_out, dropout in zip(before, widths, dropouts, strict=True)
        )
        self.rising = nn.ModuleList(
            _transposed(below, here, settings.transposed_kernel) for here, below in itertools.pairwise(widths)
        )
        self.decoder = nn.ModuleList(
            _convolutions(2 * here, here, settings, dropout, normalised=normalised)
            for here, dropout in zip(widths[:-1], dropouts[:-1], strict=True)
        )
        self.head = nn.Conv2d(widths[0], packing**2, 1)
        self.pool = nn.MaxPool2d(2)
        _initialise(self)

    def forward(self, image: Tensor) -> Tensor:
        """Logits, (n, 1, rows, cols), of images, (n, channels, rows, cols); the sides are multiples of ``stride``."""
        x = nn.functional.pixel_unshuffle(image, self.packing) if self.packing > 1 else image
        kept = []
        for level, block in enumerate(self.encoder):
            x = block(self.pool(x) if level else x)
            kept.append(x)
        for level in reversed(range(len(self.decoder))):
            x = self.decoder[level](torch.cat([kept[level], self.rising[level](x)], dim=1))
        logit: Tensor = self.head(x)
        return nn.functional.pixel_shuffle(logit, self.packing) if self.packing > 1 else logit


def make_network(settings: NetworkSettings) -> UNet:
    """Network with fresh weights from torch's generator.

    Notes
    -----
    ``paper`` with its 128 filters has 3 x 3 convolutions in pairs with dropout between them, 2 x 2 pooling and
    transposed convolutions from 128 filters to 1024, 2048 at the bottom: 124 million weights [1]_. ``compact`` has 0.95
    million; it normalises after each convolution and begins at half resolution, all pixels kept as channels.

    References
    ----------
    .. [1] Deep learning assisted high resolution microscopy image processing for phase segmentation in functional
       composite materials; the architecture of its Methods section.
    """
    base = settings.base_width or _BASE_WIDTH[settings.network]
    paper = settings.network == "paper"
    widths = [max(1, round(base * factor)) for factor in (_PAPER_WIDTHS if paper else _COMPACT_WIDTHS)]
    return UNet(settings, widths, packing=1 if paper else 2, normalised=not paper)


def count_weights(network: nn.Module) -> int:
    """Number of trained numbers."""
    return sum(p.numel() for p in network.parameters())


def _dropouts(settings: NetworkSettings, n_levels: int) -> list[float]:
    """Of each level: two outer ones, two in the middle, the bottom."""
    outer, middle, bottom = settings.dropout_outer, settings.dropout_middle, settings.dropout_bottom
    return [outer, outer, *[middle] * (n_levels - 3), bottom]


def _convolutions(
    n_in: int, n_out: int, settings: NetworkSettings, dropout: float, *, normalised: bool
) -> nn.Sequential:
    """Two convolutions, the activation after each, the dropout between them."""
    layers: list[nn.Module] = []
    for k, n in enumerate((n_in, n_out)):
        layers.append(nn.Conv2d(n, n_out, settings.kernel, padding=settings.kernel // 2, bias=not normalised))
        if normalised:
            layers.append(nn.BatchNorm2d(n_out))
        layers.append(_ACTIVATIONS[settings.activation]())
        if k == 0 and dropout > 0:
            layers.append(nn.Dropout(dropout))
    return nn.Sequential(*layers)


def _transposed(n_in: int, n_out: int, kernel: int) -> nn.ConvTranspose2d:
    """Twice the resolution, whatever the kernel."""
    return nn.ConvTranspose2d(n_in, n_out, kernel, stride=2, padding=kernel - 2, output_padding=kernel - 2)


def _initialise(network: UNet) -> None:
    """Weights after He, Zhang, Ren and Sun (2015), doi:10.1109/ICCV.2015.123, so that no level starts dead."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    nn.init.normal_(network.head.weight, std=0.01)
    nn.init.constant_(network.head.bias, _FIRST_LOGIT)  # type: ignore[arg-type]
