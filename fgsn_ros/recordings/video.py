"""Video files: frames with their times, in and out, with damages named in one line."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from fgsn_ros.errors import OutputError, RecordingError

_FRAMES_FOR_RATE = 10
_DEFAULT_RATE_HZ = 10.0
_CUT_SHORT = 0.95  # a header's number of frames may be an estimate from its length

Image = NDArray[np.uint8]


@dataclass(frozen=True)
class Video:
    """A video file that can be opened."""

    path: Path
    frame_count: int
    """as the header says; 0 where it does not"""
    rate_hz: float
    """frames a second as the header says; 0 where it does not"""

    def frames(self) -> Iterator[tuple[float, Image]]:
        """Times from the start [s] and RGB images (H, W, 3) in order, decoded one by one.

        Raises:
            RecordingError: the video is damaged: it has no frames, or ends long before its end.
        """
        capture = _opened(self.path)
        count, time_s = 0, 0.0
        try:
            while True:
                with _quiet():
                    decoded, bgr = capture.read()
                if not decoded:
                    break
                time_s = capture.get(cv2.CAP_PROP_POS_MSEC) / 1000.0
                count += 1
                yield time_s, np.ascontiguousarray(bgr[..., ::-1], np.uint8)
        finally:
            capture.release()
        if count == 0 or self._is_cut(count, time_s):
            raise RecordingError(
                f"{self.path} is damaged: {count} of {self.frame_count} frames can be decoded; "
                "repair it, for instance by 'ffmpeg -i'"
            )

    def _is_cut(self, count: int, last_s: float) -> bool:
        # Both, as either may be right of a video whose frames come at a varying rate.
        if not (self.rate_hz > 0.0 and self.frame_count > 0):
            return False
        expected_s = (self.frame_count - 1) / self.rate_hz
        return count < _CUT_SHORT * self.frame_count and last_s < _CUT_SHORT * expected_s


def open_video(path: Path) -> Video:
    """Open a video file of any kind that OpenCV's FFmpeg knows.

    Raises:
        RecordingError: it cannot be opened.
    """
    capture = _opened(path)
    frame_count, rate_hz = (
        capture.get(key) for key in (cv2.CAP_PROP_FRAME_COUNT, cv2.CAP_PROP_FPS)
    )
    capture.release()
    return Video(path, max(0, int(frame_count)), max(0.0, float(rate_hz)))


class VideoWriter:
    """Writes an mp4 at the rate of its first frames' times; a last odd row or column is cut."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._first: list[tuple[float, Image]] = []
        self._writer: Any = None
        self._count = 0

    def add(self, time_s: float, image: Image) -> None:
        """Append an RGB image (H, W, 3), of the same size as the others.

        Raises:
            OutputError: this OpenCV cannot write mp4 files.
        """
        if self._writer is not None:
            self._write(image)
            return
        self._first.append((time_s, image))
        if len(self._first) == _FRAMES_FOR_RATE:
            self._begin()

    def close(self) -> None:
        """Finish the file.

        Raises:
            OutputError: it is not whole, for instance on a full disk.
        """
        if self._first:
            self._begin()
        if self._writer is None:
            return
        with _quiet():
            self._writer.release()
        self._writer = None
        if _frame_count(self._path) != self._count:  # OpenCV says nothing of a full disk
            raise OutputError(
                f"cannot write {self._path}: it is not whole; free space or choose another output"
            )

    def _begin(self) -> None:
        height, width = self._first[0][1].shape[:2]
        rate_hz = _rate_hz([time_s for time_s, _ in self._first])
        fourcc = cv2.VideoWriter.fourcc(*"mp4v")
        with _quiet():
            self._writer = cv2.VideoWriter(
                str(self._path), cv2.CAP_FFMPEG, fourcc, rate_hz, (width, height)
            )
        if not self._writer.isOpened():
            raise OutputError(
                f"cannot write {self._path}: no mp4 of {width}x{height} pixels can be made here; "
                "leave the video out"
            )
        first, self._first = self._first, []
        for _, image in first:
            self._write(image)

    def _write(self, image: Image) -> None:
        with _quiet():
            self._writer.write(np.ascontiguousarray(image[..., ::-1]))
        self._count += 1


def _rate_hz(times_s: list[float]) -> float:
    if len(times_s) < 2:
        return _DEFAULT_RATE_HZ
    interval_s = float(np.median(np.diff(times_s)))
    return float(np.clip(round(1.0 / max(interval_s, 1e-3), 3), 0.1, 240.0))


def _frame_count(path: Path) -> int:
    try:
        return open_video(path).frame_count
    except RecordingError:
        return 0


def _opened(path: Path) -> Any:
    with _quiet():
        capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    if not capture.isOpened():
        raise RecordingError(f"{path} is damaged or no video: it cannot be opened")
    return capture


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep OpenCV's own lines off the terminal: what they say is said in an error."""
    # FFmpeg writes lines of its own unless told before its first use.
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    # OpenCV 4 and 5 have it in different places, of which each one's types know their own.
    library: Any = cv2
    set_level = getattr(library, "setLogLevel", None) or library.utils.logging.setLogLevel
    level = set_level(0)
    try:
        yield
    finally:
        set_level(level)
