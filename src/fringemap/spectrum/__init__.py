"""Frame -> Diffractogram: window, transform, background, axes."""

from fringemap.spectrum.axes import (
    bin_size,
    do_each,
    frequency_axes,
    half_shape,
    nyquist,
    read_block,
    read_blocks,
    to_bins,
    whole_spectrum,
)
from fringemap.spectrum.diffractogram import (
    average_diffractograms,
    compute_diffractogram,
    read_raw_blocks,
    under_hann,
    whiten,
)
from fringemap.spectrum.display import (
    paper_view,
    reduce_frame,
    shown_block,
    shown_limits,
    shown_paper_view,
    shown_spectrum,
)
from fringemap.spectrum.profile import RingSums, compute_profile, sum_rings

__all__ = [
    "RingSums",
    "average_diffractograms",
    "bin_size",
    "compute_diffractogram",
    "compute_profile",
    "do_each",
    "frequency_axes",
    "half_shape",
    "nyquist",
    "paper_view",
    "read_block",
    "read_blocks",
    "read_raw_blocks",
    "reduce_frame",
    "shown_block",
    "shown_limits",
    "shown_paper_view",
    "shown_spectrum",
    "sum_rings",
    "to_bins",
    "under_hann",
    "whiten",
    "whole_spectrum",
]
