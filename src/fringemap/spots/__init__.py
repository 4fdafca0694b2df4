"""Diffractogram -> Spots and Rings: find maxima and measure them."""

from fringemap.spots.candidates import Candidates
from fringemap.spots.find import detect_spots, find_spots, measure_spots
from fringemap.spots.regions import spot_mask
from fringemap.spots.rings import find_rings

__all__ = ["Candidates", "detect_spots", "find_rings", "find_spots", "measure_spots", "spot_mask"]
