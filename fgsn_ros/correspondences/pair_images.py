"""The images of training pairs, written while the structure of their recording is made."""

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from fgsn_ros.mapping.structure import (
    Reconstruction,
    Structure,
    StructureSettings,
    posed_frames,
)
from fgsn_ros.recordings.recording import Recording

_JPEG_QUALITY = 95


def image_name(number: int, run: int | None = None) -> str:
    """File name of a structure's frame; `run` numbers the recording where there are several."""
    name = f"{number:06d}.jpg"
    return name if run is None else f"run{run}_{name}"


def structure_and_images(
    recording: Recording, images: Path, settings: StructureSettings, run: int | None = None
) -> Structure:
    """The recording's structure; the images of its frames are written to the folder `images`.

    Raises:
        RecordingError: the recording has no ground truth, or a frame cannot be read.
    """
    reconstruction = Reconstruction(recording.cameras, settings)
    title = "tracking" if run is None else f"tracking {recording.name}"
    for posed in posed_frames(recording, settings.frame_spacing_m, settings.frame_turn_deg, title):
        number = reconstruction.add(posed)
        _write_jpeg(images / image_name(number, run), posed.frame.image)
    return reconstruction.structure()


def _write_jpeg(path: Path, rgb: NDArray[np.uint8]) -> None:
    quality = (cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY)
    # Encoded here: cv2.imwrite does not tell a full disk from a wrong name.
    _, encoded = cv2.imencode(".jpg", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), quality)
    path.write_bytes(encoded.tobytes())
