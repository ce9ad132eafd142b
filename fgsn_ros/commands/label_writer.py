"""The files that `fgsn segment` writes of each image."""

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from fgsn_ros.commands.segment_input import NamedImage
from fgsn_ros.errors import OutputError
from fgsn_ros.segmentation.labels import LabelMap, label_pixels
from fgsn_ros.segmentation.overlays import outlined_overlay
from fgsn_ros.sequences.video import VideoWriter


class LabelWriter:
    """Writes labels/NAME.png and, where asked, overlays/NAME.jpg and overlay.mp4 of each camera."""

    def __init__(self, folder: Path, overlays: bool, video: bool) -> None:
        self._folder = folder
        self._overlays = overlays
        self._video = video
        self._videos: dict[str, VideoWriter] = {}

    def add(self, named: NamedImage, label_map: LabelMap) -> None:
        """Write what belongs to one image.

        Raises:
            OutputError: a file cannot be written.
        """
        _write(self._folder / "labels" / f"{named.name}.png", label_pixels(label_map))
        if not (self._overlays or self._video):
            return
        blended = outlined_overlay(named.image, label_map)
        if self._overlays:
            _write(self._folder / "overlays" / f"{named.name}.jpg", blended[..., ::-1])
        if self._video:
            self._video_of(named.camera).add(named.stamp, blended)

    def close(self) -> None:
        """Finish the videos.

        Raises:
            OutputError: one is not whole.
        """
        for video in self._videos.values():
            video.close()

    def _video_of(self, camera: str) -> VideoWriter:
        if camera not in self._videos:
            path = self._folder / camera / "overlay.mp4"
            path.parent.mkdir(parents=True, exist_ok=True)
            self._videos[camera] = VideoWriter(path)
        return self._videos[camera]


def _write(path: Path, image: NDArray[np.generic]) -> None:
    encoded, data = cv2.imencode(path.suffix, np.ascontiguousarray(image))
    if not encoded:
        raise OutputError(f"{path} could not be encoded; label smaller images")
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("xb") as file:  # unlike imwrite, names a full disk
        file.write(data.tobytes())
