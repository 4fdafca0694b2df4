"""Records in a file, exactly as they were: a tree in JSON beside the arrays, in one npz without pickles.

Whatever may be in a ``FrameResult`` can be stored: records, enumerations, tuples, mappings, arrays, numbers (NaN and
infinity too), text, None.
"""

from __future__ import annotations

import dataclasses
import enum
import json
import zipfile
from typing import TYPE_CHECKING, Any

import numpy as np

from fringemap import records
from fringemap.errors import ReadError
from fringemap.report.atomic import atomic_write

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_TREE = "tree"
_KINDS = {name: kind for name, kind in vars(records).items() if isinstance(kind, type)}


def save_record(path: Path, record: Any) -> None:
    """Write a record whole or not at all.

    Raises
    ------
    OutputError
        If the file cannot be written.
    """
    arrays: dict[str, np.ndarray[Any, Any]] = {}
    tree = json.dumps(_pack(record, arrays), ensure_ascii=False)
    with atomic_write(path) as temporary, temporary.open("wb") as stream:
        np.savez(stream, **{_TREE: np.frombuffer(tree.encode(), dtype=np.uint8)}, **arrays)  # type: ignore[arg-type]


def load_record(path: Path) -> Any:
    """Read what ``save_record`` wrote.

    Raises
    ------
    ReadError
        If the file is missing or damaged.
    """
    try:
        # Opened here: numpy leaves a file open that it cannot read.
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as arrays:
            return _unpack(json.loads(bytes(arrays[_TREE])), arrays)
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise ReadError(f"the stored result {path} is damaged ({error}); repeat the run with --resume") from error


def is_whole(path: Path) -> bool:
    """Whether the file has the end that its beginning promises; its content is not read."""
    return path.is_file() and zipfile.is_zipfile(path)


def _pack(value: Any, arrays: dict[str, np.ndarray[Any, Any]]) -> Any:
    if isinstance(value, np.ndarray):
        return _pack_array(value, arrays)
    if isinstance(value, np.generic):
        return _pack(value.item(), arrays)
    if isinstance(value, enum.Enum):
        return {"enum": type(value).__name__, "value": value.value}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {f.name: _pack(getattr(value, f.name), arrays) for f in dataclasses.fields(value)}
        return {"record": type(value).__name__, "fields": fields}
    return _pack_plain(value, arrays)


def _pack_plain(value: Any, arrays: dict[str, np.ndarray[Any, Any]]) -> Any:
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, tuple | list):
        return [_pack(item, arrays) for item in value]
    if isinstance(value, frozenset):
        return {"set": [_pack(item, arrays) for item in sorted(value)]}
    if hasattr(value, "items"):
        return {"mapping": [[key, _pack(item, arrays)] for key, item in value.items()]}
    raise TypeError(f"a {type(value).__name__} cannot be stored")


def _pack_array(array: np.ndarray[Any, Any], arrays: dict[str, np.ndarray[Any, Any]]) -> Any:
    key = f"a{len(arrays)}"
    if array.dtype == bool:
        arrays[key] = np.packbits(array)
        return {"mask": key, "shape": list(array.shape)}
    arrays[key] = array
    return {"array": key}


def _unpack(tree: Any, arrays: Mapping[str, Any]) -> Any:
    if isinstance(tree, list):
        return tuple(_unpack(item, arrays) for item in tree)
    if not isinstance(tree, dict):
        return tree
    if "array" in tree:
        return arrays[tree["array"]]
    if "mask" in tree:
        bits = np.unpackbits(arrays[tree["mask"]], count=int(np.prod(tree["shape"])))
        return bits.astype(bool).reshape(tree["shape"])
    if "enum" in tree:
        return _KINDS[tree["enum"]](tree["value"])
    if "record" in tree:
        return _KINDS[tree["record"]](**{name: _unpack(item, arrays) for name, item in tree["fields"].items()})
    if "set" in tree:
        return frozenset(_unpack(item, arrays) for item in tree["set"])
    return {key: _unpack(item, arrays) for key, item in tree["mapping"]}
