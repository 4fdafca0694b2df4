"""Reading: files, stacks, TIA pairs and folders become series of frames with a pixel size that can be trusted."""

from fringemap.io.calibration_file import calibration_to_text, read_calibration
from fringemap.io.inputs import find_inputs, sha256
from fringemap.io.reading import FrameSeries, describe, read
from fringemap.io.writing import write_mrc, write_tif

__all__ = [
    "FrameSeries",
    "calibration_to_text",
    "describe",
    "find_inputs",
    "read",
    "read_calibration",
    "sha256",
    "write_mrc",
    "write_tif",
]
