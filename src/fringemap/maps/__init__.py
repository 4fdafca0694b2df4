"""From spots back to the frame: where each phase is, how strong, and how sure."""

from fringemap.maps.baseband import demodulate
from fringemap.maps.compute import compute_maps, to_full_size

__all__ = ["compute_maps", "demodulate", "to_full_size"]
