"""Errors that a user can act on: one line that says what is wrong and what to do."""

_LONGEST = 1000
_HEAD, _TAIL = 600, 380
"""Of a longer line: what is wrong stands first, what to do last."""


def one_line(text: str) -> str:
    """A text, parts of which may come from a file, as a line that a terminal can be given.

    Control characters are escaped; the middle of what is too long is left out.
    """
    line = _shortened(text)
    if line.isprintable():
        return line
    escaped = (
        character if character.isprintable() else character.encode("unicode_escape").decode()
        for character in line
    )
    return _shortened("".join(escaped))


def _shortened(text: str) -> str:
    parts = [text] if len(text) <= _LONGEST else [text[:_HEAD], "[...]", text[-_TAIL:]]
    return " ".join(" ".join(parts).split())


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
