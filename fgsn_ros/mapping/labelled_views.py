"""The labelled images of a drive, put aside in a file until its points are known."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fgsn_ros.segmentation.labels import LabelMap

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class LabelledView:
    """The labels of one image, and where it was taken."""

    frame: int
    """its number in the structure"""
    camera: str
    T_map_camera: FloatArray
    """(4, 4)"""
    label_map: LabelMap


class LabelledViews:
    """Appends views to a file; iterating reads them in order."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("x+b")
        self._cameras: list[str] = []
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, view: LabelledView) -> None:
        """Append a view."""
        if view.camera not in self._cameras:
            self._cameras.append(view.camera)
        labels = view.label_map
        numbers = [view.frame, self._cameras.index(view.camera), labels.stride, labels.label_count]
        for array in (np.array(numbers), view.T_map_camera, labels.labels, labels.confidence):
            np.save(self._file, array, allow_pickle=False)
        self._count += 1

    def __iter__(self) -> Iterator[LabelledView]:
        self._file.seek(0)
        for _ in range(self._count):
            numbers, T_map_camera, labels, confidence = (
                np.load(self._file, allow_pickle=False) for _ in range(4)
            )
            frame, camera, stride, label_count = numbers.tolist()
            label_map = LabelMap(labels, confidence, stride, label_count)
            yield LabelledView(frame, self._cameras[camera], T_map_camera, label_map)

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()
