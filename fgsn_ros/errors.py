"""Errors that a user can act on: one line that says what is wrong and what to do."""

_LONGEST_LINE = 1200
"""Of a message [characters]: more than any of ours, less than what a file may put into one."""


class FgsnError(Exception):
    """Base of every expected error; a command ends with its one line and exit code 2."""

    def __str__(self) -> str:
        return one_line(super().__str__())


class SettingsError(FgsnError):
    """A setting is out of its range, or a settings file cannot be read."""


class CameraError(FgsnError):
    """A camera's calibration is missing or of an unknown model."""


class TrajectoryError(FgsnError):
    """A pose was asked for outside a trajectory's time, or stamps are not ordered."""


class RecordingError(FgsnError):
    """A recorded drive or one of its files is missing, damaged or inconsistent."""


class CheckpointError(FgsnError):
    """A checkpoint is damaged, of another format, or lacks what a command needs."""


class MapError(FgsnError):
    """A map is damaged, empty, or was labelled by another checkpoint."""


class TrainingError(FgsnError):
    """Training data or training itself is unusable."""


class Stopped(FgsnError):  # noqa: N818
    """Training was asked to stop by a signal, and wrote what is needed to continue."""

    def __init__(self, message: str, signal_number: int) -> None:
        super().__init__(message)
        self.signal_number = signal_number


class LocalizationError(FgsnError):
    """The localizer was fed something that it must refuse."""


class OutputError(FgsnError):
    """An output file or folder cannot be written."""


def one_line(text: object, longest: int = _LONGEST_LINE) -> str:
    """What a terminal or a log can show of a text that may hold anything.

    White space is one space each, control characters (line ends, terminal codes, changes of the
    writing direction, broken Unicode) are escaped, and the middle of a long text is left out.
    """
    whole = str(text)
    if len(whole) > 2 * longest:  # before any work on it
        whole = _shortened(whole, 2 * longest)
    return _shortened(escaped(" ".join(whole.split())), longest)


def escaped(line: str) -> str:
    r"""The line with what cannot be shown as Python writes it: \x1b, \u202e."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in line)


def _shortened(text: str, longest: int) -> str:
    """The beginning, which says what is wrong, and the end, which says what to do."""
    if len(text) <= longest:
        return text
    end = longest // 3
    return f"{text[: longest - end - 5]} ... {text[-end:]}"
