"""Diffractogram -> Spots: find maxima and measure them."""

from fringemap.spots.candidates import Candidates
from fringemap.spots.find import detect_spots, find_spots, measure_spots

__all__ = ["Candidates", "detect_spots", "find_spots", "measure_spots"]
