"""Crystals, what they can show, and which of them explain the spots of a frame."""

from fringemap.phases.match import match_spots

__all__ = ["match_spots"]
