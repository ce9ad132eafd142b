"""`fgsn segment`: label a folder of images."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import cv2
import numpy as np
import tyro
from numpy.typing import NDArray
from tqdm import tqdm

from fgsn_ros.errors import RecordingError
from fgsn_ros.outputs import whole_folder
from fgsn_ros.segmentation.checkpoint import load_checkpoint
from fgsn_ros.segmentation.labels import overlay
from fgsn_ros.segmentation.segmenter import Segmenter
from fgsn_ros.segmentation.settings import SegmenterSettings

_SUFFIXES = {".png", ".jpg", ".jpeg", ".ppm", ".bmp"}


@dataclass(frozen=True)
class Segment:
    """Label every image of a folder: NAME.png (16 bit, the label grid) and NAME_overlay.jpg."""

    images: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="IMAGES")]
    """folder of images"""
    checkpoint: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="CHECKPOINT")]
    """trained network (.safetensors)"""
    output: Path
    """folder to make"""
    overlays: bool = True
    """also write the image blended with its labels' colours"""
    overwrite: bool = False
    """replace the output folder"""
    segmenter: SegmenterSettings = field(default_factory=SegmenterSettings)

    def run(self) -> None:
        """Write label images, and overlays where asked."""
        paths = _image_paths(self.images)
        segmenter = Segmenter(load_checkpoint(self.checkpoint), self.segmenter)
        with whole_folder(self.output, self.overwrite) as folder:
            for path in tqdm(paths, desc="label", unit="image"):
                image = _read_rgb(path)
                label_map = segmenter.segment(image)
                _write(folder / f"{path.stem}.png", label_map.labels)
                if self.overlays:
                    _write(
                        folder / f"{path.stem}_overlay.jpg", overlay(image, label_map)[..., ::-1]
                    )


def _image_paths(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise RecordingError(f"{folder} is no folder of images")
    paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in _SUFFIXES)
    if not paths:
        raise RecordingError(f"{folder} holds no image ({', '.join(sorted(_SUFFIXES))})")
    stems = [path.stem for path in paths]
    twice = sorted({stem for stem in stems if stems.count(stem) > 1})
    if twice:
        raise RecordingError(f"{folder} holds several images named {twice[0]}; rename one")
    return paths


def _read_rgb(path: Path) -> NDArray[np.uint8]:
    image = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if image is None:
        raise RecordingError(f"{path} is no readable image")
    return np.asarray(image[..., ::-1], np.uint8)


def _write(path: Path, image: NDArray[np.generic]) -> None:
    encoded, data = cv2.imencode(path.suffix, np.ascontiguousarray(image))
    if not encoded:
        raise RecordingError(f"{path.name} could not be encoded")
    path.write_bytes(data.tobytes())  # unlike imwrite, names a full disk
