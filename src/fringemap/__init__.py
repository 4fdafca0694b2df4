"""From high-resolution TEM frames to phase maps.

The public names are loaded when they are first used, so that ``import fringemap`` costs next to nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fringemap.batch import analyze, analyze_inputs
    from fringemap.errors import FringemapError
    from fringemap.io import read
    from fringemap.maps import compute_maps
    from fringemap.phases import list_structures, load_structure, match_spots
    from fringemap.pipeline import analyze_frame, load_phases
    from fringemap.records import Diffractogram, Frame, FrameResult, Spots
    from fringemap.settings import AnalysisSettings, read_settings
    from fringemap.spectrum import compute_diffractogram
    from fringemap.spots import find_spots

__version__ = "0.1.0"

__all__ = [
    "AnalysisSettings",
    "Diffractogram",
    "Frame",
    "FrameResult",
    "FringemapError",
    "Spots",
    "__version__",
    "analyze",
    "analyze_frame",
    "analyze_inputs",
    "compute_diffractogram",
    "compute_maps",
    "find_spots",
    "list_structures",
    "load_phases",
    "load_structure",
    "match_spots",
    "read",
    "read_settings",
]

_ROOMS = {
    "AnalysisSettings": "settings",
    "Diffractogram": "records",
    "Frame": "records",
    "FrameResult": "records",
    "FringemapError": "errors",
    "Spots": "records",
    "analyze": "batch",
    "analyze_frame": "pipeline",
    "analyze_inputs": "batch",
    "compute_diffractogram": "spectrum",
    "compute_maps": "maps",
    "find_spots": "spots",
    "list_structures": "phases",
    "load_phases": "pipeline",
    "load_structure": "phases",
    "match_spots": "phases",
    "read": "io",
    "read_settings": "settings",
}


def __getattr__(name: str) -> Any:
    if name not in _ROOMS:
        raise AttributeError(f"module 'fringemap' has no attribute {name!r}")
    value = getattr(import_module(f"fringemap.{_ROOMS[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
