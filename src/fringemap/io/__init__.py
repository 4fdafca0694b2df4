"""Reading: files, stacks, TIA pairs and folders become series of frames with a pixel size that can be trusted."""

from fringemap.io.inputs import find_inputs, sha256
from fringemap.io.reading import FrameSeries, describe, read

__all__ = ["FrameSeries", "describe", "find_inputs", "read", "sha256"]
