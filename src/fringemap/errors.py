"""What can go wrong, as one tree.

::

    FringemapError
    ├── ReadError             a file is missing, damaged, or holds no usable image
    ├── CalibrationError      a pixel size is missing, absurd or contradictory
    ├── SettingsError         a setting, option or settings file makes no sense
    ├── StructureError        a crystal structure or table of d-spacings is unusable
    ├── ModelError            a detector's model package is missing or does not fit
    ├── OutputError           a result cannot be written
    └── WorkerError           a worker process, or the cluster that should do the work, is lost

Every message is one sentence for a microscopist: what (with its value and unit), why, and the way out.
"""


class FringemapError(Exception):
    """Base of every error that fringemap raises on purpose."""


class ReadError(FringemapError):
    """A file is missing, damaged, or holds no image that can be analysed."""


class CalibrationError(FringemapError):
    """A pixel size is missing, absurd or contradictory."""


class SettingsError(FringemapError):
    """A setting, a command-line option or a settings file makes no sense."""


class StructureError(FringemapError):
    """A crystal structure or a table of d-spacings is unusable."""


class ModelError(FringemapError):
    """A detector's model package is missing, damaged or made for other input."""


class OutputError(FringemapError):
    """A result cannot be written."""


class WorkerError(FringemapError):
    """A worker process died at its work, or the cluster that should do it does not answer."""
