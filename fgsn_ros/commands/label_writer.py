"""The files that `fgsn segment` writes of each image."""

import os
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from fgsn_ros.commands.segment_input import NamedImage
from fgsn_ros.errors import OutputError
from fgsn_ros.recordings.video import VideoWriter
from fgsn_ros.segmentation.labels import LabelMap, label_pixels, outlined_overlay


class LabelWriter:
    """Writes labels/NAME.png and, where asked, overlays/NAME.jpg and overlay.mp4 of each camera.

    A context manager: threads encode and write the files, which are whole when it ends.
    """

    def __init__(self, folder: Path, overlays: bool, video: bool) -> None:
        self.count = 0
        """Images so far."""
        self._folder = folder
        # The pictures of a film keep their order in a single thread.
        self._threads = 1 if video else os.cpu_count() or 1
        self._pool = ThreadPoolExecutor(self._threads, thread_name_prefix="write")
        self._pending: deque[Future[None]] = deque()
        self._overlays = overlays
        self._video = video
        self._videos: dict[str, VideoWriter] = {}
        self._video_sizes: dict[str, tuple[int, int]] = {}

    def __enter__(self) -> "LabelWriter":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            while self._pending and kind is None:
                self._pending.popleft().result()
        finally:
            self._pool.shutdown(cancel_futures=True)
        if kind is None:
            for video in self._videos.values():
                video.close()

    def add(self, named: NamedImage, label_map: LabelMap) -> None:
        """Write what belongs to one image, soon.

        Raises:
            OutputError: a file, perhaps of an image before, cannot be written.
        """
        self.count += 1
        self._pending.append(self._pool.submit(self._add, named, label_map))
        if len(self._pending) > 2 * self._threads:
            self._pending.popleft().result()

    def _add(self, named: NamedImage, label_map: LabelMap) -> None:
        _write(self._folder / "labels" / f"{named.name}.png", label_pixels(label_map))
        if not (self._overlays or self._video):
            return
        blended = outlined_overlay(named.image, label_map)
        if self._overlays:
            _write(self._folder / "overlays" / f"{named.name}.jpg", blended[..., ::-1])
        if self._video:
            self._add_to_video(named, blended)

    def _add_to_video(self, named: NamedImage, blended: NDArray[np.uint8]) -> None:
        camera = named.camera
        if camera not in self._videos:
            path = self._folder / camera / "overlay.mp4"
            path.parent.mkdir(parents=True, exist_ok=True)
            self._videos[camera] = VideoWriter(path)
            self._video_sizes[camera] = blended.shape[1], blended.shape[0]
        # A camera may change its size; its film has one.
        resized = cv2.resize(blended, self._video_sizes[camera])
        self._videos[camera].add(named.stamp, np.asarray(resized, np.uint8))


def _write(path: Path, image: NDArray[np.generic]) -> None:
    encoded, data = cv2.imencode(path.suffix, np.ascontiguousarray(image))
    if not encoded:
        raise OutputError(f"{path} could not be encoded; label smaller images")
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("xb") as file:  # unlike imwrite, names a full disk
        file.write(data.tobytes())
