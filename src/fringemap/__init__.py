"""From high-resolution TEM frames to phase maps."""

__version__ = "0.1.0"
