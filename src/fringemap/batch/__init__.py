"""Many inputs: shared out over workers, safe against faults, watched, repeated. A bad one never ends the rest.

The names are loaded when they are first used: a worker that starts needs little of it.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fringemap.batch.frame import analyze
    from fringemap.batch.replay import Replay, replay_run
    from fringemap.batch.run import analyze_input, analyze_inputs
    from fringemap.batch.watch import watch_folder
    from fringemap.batch.work import InputResult

__all__ = ["InputResult", "Replay", "analyze", "analyze_input", "analyze_inputs", "replay_run", "watch_folder"]

_MODULES = {
    "InputResult": "work",
    "Replay": "replay",
    "analyze": "frame",
    "analyze_input": "run",
    "analyze_inputs": "run",
    "replay_run": "replay",
    "watch_folder": "watch",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'fringemap.batch' has no attribute {name!r}")
    return getattr(import_module(f"fringemap.batch.{_MODULES[name]}"), name)
