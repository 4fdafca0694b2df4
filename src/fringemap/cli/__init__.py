"""The command line: parse, call one plain function, say how it ended.

Options are made from the settings classes. Whatever is slow to import is imported by the command that needs it, so that
``fringemap --help`` answers at once.
"""

from __future__ import annotations

from fringemap.cli import analysis, calibration, comparison, evaluation, files, gui, phases, simulation, training
from fringemap.cli.app import app, main

__all__ = [
    "analysis",
    "app",
    "calibration",
    "comparison",
    "evaluation",
    "files",
    "gui",
    "main",
    "phases",
    "simulation",
    "training",
]
