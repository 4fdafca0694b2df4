"""Every knob of fringemap: one frozen class a room, each field with default, unit and one line of help.

Command-line options, forms in the browser and the saved TOML are all made from these classes. They import nothing
heavy, so that ``fringemap --help`` stays quick.

``python -m fringemap.settings > docs/settings.md`` writes their page anew.
"""

from __future__ import annotations

import dataclasses
import json
import sys
import tomllib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from fringemap.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from pathlib import Path

T = TypeVar("T")

FILES = "files"
"""Where a settings file holds the settings of single inputs."""
_UNIT_ENDINGS = ("_nm", "_s", "_angstrom", "_percent", "_k")


def setting(
    default: T,
    help: str,  # noqa: A002 - the word that every command line uses
    *,
    unit: str = "",
    minimum: float | None = None,
    maximum: float | None = None,
) -> T:
    """Declare one setting: its default, a line of help, its unit and the range that makes sense."""
    metadata = {"help": help, "unit": unit, "minimum": minimum, "maximum": maximum}
    declared: T = field(default=default, metadata=metadata)
    return declared


@dataclass(frozen=True)
class Settings:
    """Base of the settings classes: checks ranges when made."""

    def __post_init__(self) -> None:
        for f in dataclasses.fields(self):
            _check_range(f.name, getattr(self, f.name), f.metadata)
            if isinstance(f.default, tuple) and isinstance(value := getattr(self, f.name), str):
                # Python would take a text for a list of its letters.
                raise SettingsError(f"{f.name} = {value!r} is no list; write ({value!r},)")


def _check_range(name: str, value: object, metadata: Mapping[str, Any]) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return
    low, high, unit = metadata.get("minimum"), metadata.get("maximum"), metadata.get("unit", "")
    too_low = low is not None and not value >= low
    too_high = high is not None and not value <= high
    if too_low or too_high:
        allowed = f"from {low}" if high is None else f"up to {high}" if low is None else f"{low} to {high}"
        raise SettingsError(
            f"{name} = {value} {unit} is out of range; allowed: {allowed} {unit}".replace("  ", " ").strip()
        )


@dataclass(frozen=True)
class ReadSettings(Settings):
    """What is read, and at what scale."""

    pixel_size_nm: float | None = setting(
        None, "Pixel size; overrides what the file says", unit="nm/px", minimum=1e-4, maximum=100.0
    )
    scale_sigma_percent: float | None = setting(
        None,
        "Standard error of the pixel size; default: 1 if you give the pixel size, 2.5 if the file does",
        unit="%",
        minimum=0.0,
        maximum=50.0,
    )
    calibration: str = setting(
        "", "Calibration file that fringemap calibrate wrote: corrects pixel size and distortion"
    )
    frames: str = setting("", "Frames of a series to read, START:STOP:STEP as in Python; all if empty")
    bin_frames: int = setting(1, "Average this many successive frames into one", minimum=1)
    frame_time_s: float | None = setting(None, "Time from one frame to the next", unit="s", minimum=0.0)
    dose_rate: float | None = setting(None, "Dose rate, for a dose axis", unit="e/Å²/s", minimum=0.0)


@dataclass(frozen=True)
class SpectrumSettings(Settings):
    """How a frame becomes a diffractogram."""

    edges: Literal["periodic", "hann", "none"] = setting(
        "periodic",
        "What is done against the cross-shaped streak: subtract the smooth part that jumps at the frame's edges, "
        "multiply by a Hann window, or nothing",
    )
    hot_pixel_sigma: float = setting(
        12.0,
        "Replace single pixels that leave their neighbours by more than this; 0 keeps all",
        unit="sigma",
        minimum=0.0,
    )


@dataclass(frozen=True)
class SpotSettings(Settings):
    """How spots are found and measured."""

    detector: Literal["classical", "unet"] = setting(
        "unet", "unet: a trained network, with the law of noise beside it; classical: brighter than noise makes it"
    )
    model: str = setting("", "Folder of the network's model package; the one that comes with fringemap if empty")
    false_spots: float = setting(
        0.05,
        "Expected number of false spots in a frame without any crystal",
        minimum=1e-9,
        maximum=1e4,
    )
    sensitivity: float | None = setting(
        None,
        "Another word for false_spots, and before it: 50 means 0.05 false spots a frame, 25 more ten times as many",
        minimum=0.0,
        maximum=100.0,
    )
    d_min_angstrom: float = setting(1.0, "Smallest d-spacing looked for", unit="Å", minimum=0.1)
    d_max_angstrom: float = setting(12.0, "Largest d-spacing looked for", unit="Å", minimum=0.2)
    min_grain_nm: float = setting(2.0, "Smallest grain whose (wide) spots are looked for", unit="nm", minimum=0.2)


@dataclass(frozen=True)
class PhaseSettings(Settings):
    """Which phases are considered, and when a spot is given a name."""

    phases: tuple[str, ...] = setting(
        (),
        "Names from the library, CIF files or folders of them, CSV tables of component, hkl, d, or ranges of d as "
        "START:STOP:STEP in Å; the whole library if empty",
    )
    elements: tuple[str, ...] = setting((), "Elements that can be present; phases with any other are left out")
    present: tuple[str, ...] = setting(
        (), "Phases that are surely in the sample: added to the list, and found more readily (posterior)"
    )
    absent: tuple[str, ...] = setting((), "Phases that cannot be in the sample: left out")
    temperature_k: float | None = setting(
        None,
        "Temperature of the specimen: cells are moved to it, and below 180 K ice joins a list of phases; as measured "
        "by their sources if not given",
        unit="K",
        minimum=0.1,
        maximum=2000.0,
    )
    match: Literal["posterior", "tolerance", "nearest"] = setting(
        "posterior",
        "posterior: zones of grains with one common scale, with probabilities; tolerance: within the errors of fit and "
        "calibration, else unknown; nearest: the closest entry, whatever it is",
    )
    tolerance_sigma: float = setting(
        3.0,
        "How many standard errors a spot may lie from a reflection",
        unit="sigma",
        minimum=0.5,
        maximum=10.0,
    )
    internal_standard: str = setting(
        "", "A phase that is surely in the frame: its lattice corrects scale and ellipse (posterior)"
    )
    false_names: float = setting(
        0.05,
        "Share of the named phases that may be false; the others remain candidates (posterior)",
        minimum=1e-6,
        maximum=1.0,
    )
    decoys: int = setting(
        4, "Decoy cells for each structure, to learn how well a wrong cell fits (posterior)", minimum=0, maximum=100
    )
    min_intensity_percent: float = setting(
        1.0,
        "Leave out reflections weaker than this share of their phase's strongest",
        unit="%",
        minimum=0.0,
        maximum=100.0,
    )


@dataclass(frozen=True)
class MapSettings(Settings):
    """How a phase is mapped back on the frame."""

    map: Literal["amplitude", "otsu"] = setting(
        "amplitude",
        "amplitude: fringe amplitude and a mask at a false-discovery rate; "
        "otsu: masked inverse FFT and Otsu, as in the paper",
    )
    resolution_nm: float | None = setting(
        None,
        "Spatial resolution of the maps; chosen from the spots if not given",
        unit="nm",
        minimum=0.1,
    )
    false_discovery_rate: float = setting(0.05, "Share of a region that may be false", minimum=1e-6, maximum=0.5)
    full_size: bool = setting(False, "Write maps at the frame's size instead of their own resolution")


@dataclass(frozen=True)
class SeriesSettings(Settings):
    """How spots and phases are followed over the frames of a series."""

    max_gap: int = setting(5, "Frames in a row that a spot may be missing and still be the same", unit="", minimum=0)
    link_sigma: float = setting(
        4.0,
        "How far a spot may move from one frame to the next, in standard errors of fit and motion together",
        unit="sigma",
        minimum=1.0,
        maximum=20.0,
    )
    false_presence: float = setting(
        0.02,
        "Share of frames that name a phase which is not there; onset and end are judged against it",
        minimum=1e-6,
        maximum=0.5,
    )
    drift_window: int = setting(
        6, "Each frame is compared with this many before it to find the drift; 0 leaves the drift out", minimum=0
    )
    frame_of_reference: Literal["camera", "specimen"] = setting(
        "camera",
        "camera: maps and video lie where the frames were taken; specimen: they are shifted back by the drift, so that "
        "the specimen stays where it is in the first frame",
    )
    video: bool = setting(True, "Write evolution.mp4 (a GIF where PyAV is not installed)")
    fps: float = setting(10.0, "Frames a second of the video", unit="1/s", minimum=1.0, maximum=60.0)


@dataclass(frozen=True)
class ReportSettings(Settings):
    """What is written besides the tables and maps."""

    figures: bool = setting(True, "Draw figures and the page")
    pdf: bool = setting(False, "Also write report.pdf")
    spectrum: Literal["whitened", "paper"] = setting(
        "whitened",
        "How the diffractogram is shown: over its background, or as in the paper (log, middle cut out, brightened)",
    )
    dpi: int = setting(150, "Resolution of the PNG figures", unit="dpi", minimum=30, maximum=1200)


@dataclass(frozen=True)
class AnalysisSettings(Settings):
    """All settings of an analysis, a section a room."""

    read: ReadSettings = ReadSettings()
    spectrum: SpectrumSettings = SpectrumSettings()
    spots: SpotSettings = SpotSettings()
    phases: PhaseSettings = PhaseSettings()
    maps: MapSettings = MapSettings()
    series: SeriesSettings = SeriesSettings()
    report: ReportSettings = ReportSettings()


@dataclass(frozen=True)
class NetworkSettings(Settings):
    """The shape of a network that looks for spots."""

    network: Literal["compact", "paper"] = setting(
        "compact",
        "compact: made for CPUs, five levels from half resolution down; paper: five levels from full resolution down",
    )
    base_width: int | None = setting(
        None, "Filters of the first level; default: 16 (compact), 128 (paper)", minimum=1, maximum=1024
    )
    kernel: int = setting(3, "Side of the convolutions", unit="px", minimum=1, maximum=9)
    transposed_kernel: int = setting(2, "Side of the transposed convolutions", unit="px", minimum=2, maximum=3)
    activation: Literal["relu", "elu", "gelu"] = setting("relu", "Activation between the convolutions")
    dropout_outer: float = setting(0.0, "Share dropped out on the two finest levels", minimum=0.0, maximum=0.9)
    dropout_middle: float = setting(0.0, "Share dropped out on the two levels below", minimum=0.0, maximum=0.9)
    dropout_bottom: float = setting(0.0, "Share dropped out on the coarsest level", minimum=0.0, maximum=0.9)
    channels: Literal["all", "both", "largest"] = setting(
        "all",
        "What the network sees of each cell of the pattern: its largest and mean value over the background, and the "
        "mean over the calm of its ring; the first two; or the largest alone",
    )
    half: bool = setting(True, "Look at the half pattern; the other half follows from Friedel symmetry")


@dataclass(frozen=True)
class TrainSettings(Settings):
    """How a network is trained."""

    loss: Literal["entropy", "dice", "both"] = setting("both", "Cross-entropy, soft Dice, or their sum")
    positive_weight: float = setting(4.0, "Weight of the spots' pixels in the cross-entropy", minimum=0.01, maximum=1e3)
    augmentation: Literal["none", "physical", "paper"] = setting(
        "none", "Beyond mirrored and turned crops: physical changes of the pattern, or the paper's recipe"
    )
    epochs: int = setting(40, "Rounds at most", minimum=1)
    samples_per_epoch: int | None = setting(None, "Patterns drawn for one round; the whole set if left out", minimum=1)
    validation_samples: int = setting(48, "Patterns at most on which the Dice of a round is measured", minimum=1)
    crop: int = setting(160, "Side of the square crops; 0 trains on whole patterns", unit="px", minimum=0, maximum=4096)
    crops_per_sample: int = setting(
        4, "Crops from each pattern; 1 is best where there are thousands", minimum=1, maximum=64
    )
    batch: int = setting(16, "Crops in one step", minimum=1, maximum=1024)
    learning_rate: float = setting(6e-3, "Largest step of AdamW", minimum=1e-8, maximum=1.0)
    weight_decay: float = setting(1e-4, "Decay of the weights in AdamW", minimum=0.0, maximum=1.0)
    averaging: float = setting(
        0.998, "The model is a running average of the weights: share that stays at each step", minimum=0.0, maximum=1.0
    )
    patience: int = setting(10, "Rounds without a better Dice after which training ends", minimum=1)
    minutes: float | None = setting(None, "End after this time with the best model so far", unit="min", minimum=0.0)
    threads: int = setting(1, "CPU threads", minimum=1, maximum=256)
    mixed_precision: bool = setting(True, "Compute in bfloat16 where there is a GPU")
    empty_frames: int = setting(
        400, "Frames without any crystal that are drawn to count the model's false spots", minimum=1
    )
    seed: int = setting(0, "Seed of everything that is drawn", minimum=0)


@dataclass(frozen=True)
class TuneSettings(Settings):
    """How good settings of network and training are searched for."""

    space: Literal["paper", "own"] = setting(
        "paper",
        "paper: learning rate, kernels, filters, activation and dropouts as published; own: for the compact network",
    )
    trials: int = setting(15, "Trials at most, those of earlier runs in the same folder included", minimum=1)
    epochs: int = setting(20, "Rounds of a trial at most", minimum=1)
    patience: int = setting(3, "A trial ends after so many rounds without a better Dice", minimum=1)
    filters: tuple[int, ...] = setting(
        (), "Filters to choose from in the paper's space; default: 256, 512, 1024 at the last level above the bottom"
    )
    minutes: float | None = setting(None, "Begin no trial after this time", unit="min", minimum=0.0)
    seed: int = setting(0, "Seed of the search and of each training", minimum=0)


def settings_from_mapping(given: Mapping[str, Any], *, origin: str = "the settings") -> AnalysisSettings:
    """Make settings from nested mappings, section by section, as a TOML file or a run.json holds them.

    Raises
    ------
    SettingsError
        A section or setting is unknown, or a value has the wrong type or is out of range; ``origin`` says where.
    """
    sections = {f.name: f.type for f in dataclasses.fields(AnalysisSettings)}
    made: dict[str, Settings] = {}
    for name, values in given.items():
        if name not in sections:
            raise SettingsError(f"{origin}: there is no section [{name}]; sections are {', '.join(sections)}")
        made[name] = _section_from_mapping(globals()[str(sections[name])], values, f"{origin}, section [{name}]")
    return AnalysisSettings(**made)  # type: ignore[arg-type]


def _section_from_mapping(section: type[Settings], values: Any, origin: str) -> Settings:
    from pydantic import TypeAdapter, ValidationError  # slow to import, and seldom needed

    known = [f.name for f in dataclasses.fields(section)]
    if not hasattr(values, "items"):
        raise SettingsError(f"{origin} is no table of settings")
    for key in values:
        if key not in known:
            raise SettingsError(f"{origin}: there is no setting {key}; settings are {', '.join(known)}")
    try:
        made: Settings = TypeAdapter(section).validate_python(dict(values))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise SettingsError(f"{origin}: {where} = {first['input']!r}: {first['msg'].lower()}") from error
    return made


def read_settings(path: Path) -> AnalysisSettings:
    """Read settings from a TOML file with the sections of ``AnalysisSettings``; what it leaves out has its default.

    Those of single inputs are left to ``read_file_settings``.

    Raises
    ------
    SettingsError
        The file is missing, is no TOML, or holds an unknown or impossible setting.
    """
    given = _read_toml(path)
    given.pop(FILES, None)
    return settings_from_mapping(given, origin=str(path))


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        given = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"{path} cannot be read: {error.strerror}; check the name of the settings file") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} is no valid TOML: {error}") from error
    return given


@dataclass(frozen=True)
class FileSettings:
    """Settings of some inputs only: the table ``[files."PATTERN"]`` of a settings file."""

    pattern: str
    """Compared with the end of an input's path, folder by folder: ``day1/*.dm4``."""
    sections: Mapping[str, Mapping[str, Any]]
    """Settings that differ, section by section."""


def read_file_settings(path: Path) -> tuple[FileSettings, ...]:
    """Read the tables ``[files."PATTERN"]`` of a settings file, in their order.

    Raises
    ------
    SettingsError
        As ``read_settings``, for each of the tables.
    """
    tables = _read_toml(path).get(FILES, {})
    if not isinstance(tables, dict) or not all(isinstance(sections, dict) for sections in tables.values()):
        raise SettingsError(
            f'{path}: [{FILES}] holds tables of sections, one for each pattern of names; write [{FILES}."*.dm4".read]'
        )
    for pattern, sections in tables.items():
        settings_from_mapping(sections, origin=f'{path}, [{FILES}."{pattern}"]')
    return tuple(FileSettings(pattern, sections) for pattern, sections in tables.items())


def settings_of_input(path: Path, settings: AnalysisSettings, files: Sequence[FileSettings]) -> AnalysisSettings:
    """Settings of one input: the common ones, changed by each table whose pattern it matches; later tables win.

    Raises
    ------
    SettingsError
        A value is out of range.
    """
    mine = [table for table in files if path.absolute().match(table.pattern)]
    if not mine:
        return settings
    merged = {f.name: dict(vars(getattr(settings, f.name))) for f in dataclasses.fields(settings)}
    for table in mine:
        for section, values in table.sections.items():
            merged[section].update(values)
    return settings_from_mapping(merged, origin=f"the settings of {path.name}")


def without_settings(files: Sequence[FileSettings], names: Collection[str]) -> tuple[FileSettings, ...]:
    """Leave these settings out of all tables."""
    return tuple(
        FileSettings(
            table.pattern,
            {name: {n: v for n, v in given.items() if n not in names} for name, given in table.sections.items()},
        )
        for table in files
    )


def settings_to_toml(settings: AnalysisSettings, files: Sequence[FileSettings] = ()) -> str:
    """Write settings as a TOML file that ``read_settings`` takes, each with its unit and help as a comment."""
    lines = _common_lines(settings)
    for table in files:
        for section, values in table.sections.items():
            lines.append(f"[{FILES}.{_toml_value(table.pattern)}.{section}]")
            lines += [*(f"{name} = {_toml_value(value)}" for name, value in values.items()), ""]
    return "\n".join(lines)


def _common_lines(settings: AnalysisSettings) -> list[str]:
    lines = []
    for section in dataclasses.fields(settings):
        lines.append(f"[{section.name}]")
        values = getattr(settings, section.name)
        for f in dataclasses.fields(values):
            unit = f" [{f.metadata['unit']}]" if f.metadata["unit"] else ""
            value = getattr(values, f.name)
            assigned = f"{f.name} = {_toml_value(value)}" if value is not None else f"# {f.name} ="
            lines.append(f"{assigned}  # {f.metadata['help']}{unit}")
        lines.append("")
    return lines


def _toml_value(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple | list):
        return f"[{', '.join(_toml_value(item) for item in value)}]"
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str) else str(value)


def flag_of(name: str) -> str:
    """Give the command-line flag of a setting: without the unit, which the help states."""
    for ending in _UNIT_ENDINGS:
        name = name.removesuffix(ending)
    return "--" + name.replace("_", "-")


def settings_to_markdown() -> str:
    """Make the docs page of all settings, a table a section."""
    lines = [_PAGE_HEAD]
    for section in dataclasses.fields(AnalysisSettings):
        room = globals()[str(section.type)]
        lines += [f"## [{section.name}]", "", str(room.__doc__), "", *_TABLE_HEAD]
        kinds = get_type_hints(room)
        lines += [_markdown_row(f, kinds[f.name]) for f in dataclasses.fields(room)]
        lines.append("")
    return "\n".join(lines)


_PAGE_HEAD = """\
# Settings

Every knob of an analysis. `fringemap settings -o my.toml` writes them all to a file with these sections, and
`fringemap analyze ... --settings my.toml` reads it; what a file leaves out has its default. An option on the command
line overrides the file, also where it speaks of single inputs. This page is made from the settings classes by
`python -m fringemap.settings`.

## Settings of single inputs

A table `[files."PATTERN".SECTION]` changes settings for those inputs of `analyze` and `watch` whose path matches:

```toml
[read]
pixel_size_nm = 0.037

[files."day1/*.dm4".read]
pixel_size_nm = 0.0368

[files."day1/overview_*.dm4".phases]
elements = ["Li", "O"]
```

The pattern is compared with the end of the path, folder by folder; `*` stands for anything within a name, `?` for one
letter, `[0-9]` for one of these. An input is a file, or the folder of a numbered series as a whole. Where several
tables match, later ones win, setting by setting. `settings.toml` of the run keeps all tables, `run.json` the settings
that the input really had.
"""
_TABLE_HEAD = ("| setting | option | default | unit | allowed | meaning |", "|---|---|---|---|---|---|")


def _markdown_row(f: dataclasses.Field[Any], kind: Any) -> str:
    default = "" if f.default is None else f"`{_toml_value(f.default)}`"
    cells = (f"`{f.name}`", f"`{flag_of(f.name)}`", default, f.metadata["unit"], _allowed(f, kind), f.metadata["help"])
    return f"| {' | '.join(cells)} |"


def _allowed(f: dataclasses.Field[Any], kind: Any) -> str:
    low, high = f.metadata["minimum"], f.metadata["maximum"]
    if get_origin(kind) is Literal:
        return ", ".join(get_args(kind))
    if low is None:
        return ""
    return f"from {low:g}" if high is None else f"{low:g} to {high:g}"


if __name__ == "__main__":
    sys.stdout.write(settings_to_markdown())
