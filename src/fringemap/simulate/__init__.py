"""Frames with a known answer: the physics of an HRTEM image, and exactly what it holds.

``simulate_frame`` draws one ``Scene``. ``random_scene``, ``demo_scene`` and ``simulate_series`` make scenes.
"""

from fringemap.simulate.frame import simulate_frame
from fringemap.simulate.optics import (
    Camera,
    Microscope,
    electron_wavelength,
    scherzer_defocus,
)
from fringemap.simulate.scene import (
    Amorphous,
    Ellipse,
    Faults,
    Grain,
    HalfPlane,
    Halo,
    Polygon,
    Region,
    Scene,
    disc,
)
from fringemap.simulate.truth import expected_noise_power
from fringemap.simulate.waves import PlaneWave, plane_wave_frame

__all__ = [
    "Amorphous",
    "Camera",
    "Ellipse",
    "Faults",
    "Grain",
    "HalfPlane",
    "Halo",
    "Microscope",
    "PlaneWave",
    "Polygon",
    "Region",
    "Scene",
    "disc",
    "electron_wavelength",
    "expected_noise_power",
    "plane_wave_frame",
    "scherzer_defocus",
    "simulate_frame",
]
