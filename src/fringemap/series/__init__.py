"""Results of many frames, seen together: tracks, drift, evolution and events."""

from fringemap.series.drift import estimate_drift
from fringemap.series.events import find_events
from fringemap.series.evolution import compute_evolutions, name_maps
from fringemap.series.follow import SeriesFollower, follow_series
from fringemap.series.linking import SpotFollower, link_spots
from fringemap.series.summary import summarise_frame
from fringemap.series.tracks import gather_tracks

__all__ = [
    "SeriesFollower",
    "SpotFollower",
    "compute_evolutions",
    "estimate_drift",
    "find_events",
    "follow_series",
    "gather_tracks",
    "link_spots",
    "name_maps",
    "summarise_frame",
]
