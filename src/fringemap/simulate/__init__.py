"""Frames with a known answer: the physics of an HRTEM image, and exactly what it holds.

``simulate_frame`` draws one ``Scene``. ``random_scene``, ``demo_scene`` and ``simulate_series`` make scenes.
"""

from fringemap.simulate.amorphous import amorphous_contrast
from fringemap.simulate.crystals import random_structure
from fringemap.simulate.frame import simulate_frame
from fringemap.simulate.insitu import InSitu, insitu_scenes, simulate_series
from fringemap.simulate.interference import MOIRE
from fringemap.simulate.optics import (
    Camera,
    Microscope,
    electron_wavelength,
    scherzer_defocus,
)
from fringemap.simulate.recipes import SceneRanges, demo_scene, random_microscope, random_scene, voronoi_cells
from fringemap.simulate.scene import (
    Amorphous,
    Ellipse,
    Faults,
    Grain,
    HalfPlane,
    Halo,
    Polygon,
    Region,
    ScaleBar,
    Scene,
    disc,
)
from fringemap.simulate.truth import expected_noise_power
from fringemap.simulate.waves import PlaneWave, plane_wave_frame

__all__ = [
    "MOIRE",
    "Amorphous",
    "Camera",
    "Ellipse",
    "Faults",
    "Grain",
    "HalfPlane",
    "Halo",
    "InSitu",
    "Microscope",
    "PlaneWave",
    "Polygon",
    "Region",
    "ScaleBar",
    "Scene",
    "SceneRanges",
    "amorphous_contrast",
    "demo_scene",
    "disc",
    "electron_wavelength",
    "expected_noise_power",
    "insitu_scenes",
    "plane_wave_frame",
    "random_microscope",
    "random_scene",
    "random_structure",
    "scherzer_defocus",
    "simulate_frame",
    "simulate_series",
    "voronoi_cells",
]
