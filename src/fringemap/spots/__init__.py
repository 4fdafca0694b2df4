"""Diffractogram -> Spots and Rings: find maxima and measure them."""

from fringemap.spots.candidates import Candidates
from fringemap.spots.find import detect_spots, find_spots, measure_spots
from fringemap.spots.regions import spot_bins, spot_mask
from fringemap.spots.ring_shape import RingShape, measure_ring
from fringemap.spots.rings import find_rings
from fringemap.spots.straighten import straighten_spots

__all__ = [
    "Candidates",
    "RingShape",
    "detect_spots",
    "find_rings",
    "find_spots",
    "measure_ring",
    "measure_spots",
    "spot_bins",
    "spot_mask",
    "straighten_spots",
]
