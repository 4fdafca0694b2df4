"""The process of ``fringemap.gui.teacher`` in a few seconds: at full priority, and with an export that is only a copy.

The export takes longer than all else, and at low priority a busy machine gives the process a tenth of a core.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

from fringemap.gui import jobs, teacher
from fringemap.training import package
from made_model import write_made_model


def copy_model(_network: Any, path: Path) -> float:
    with tempfile.TemporaryDirectory() as folder:
        shutil.copy(write_made_model(Path(folder) / "made") / "model.onnx", path)
    return 0.0


if __name__ == "__main__":
    jobs._LOW_PRIORITY = 0
    package.export_onnx = copy_model
    teacher.main()
