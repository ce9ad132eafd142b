"""Label maps, their colours, and label images with what their numbers mean: labels.json."""

import json
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from fgsn_ros.documents import parse_json
from fgsn_ros.errors import RecordingError
from fgsn_ros.outputs import Layout
from fgsn_ros.text_files import read_text

UNLABELLED = 65535
"""Label of a cell that has none."""
BYTE_LABELS = 255
"""Up to this many labels fit a byte, beside the value for unlabelled."""
LABEL_SET_FILE, CLASS_NAMES_FILE = "labels.json", "classes.txt"
_FORMAT = "fgsn_ros labels"
LABEL_FOLDER = Layout(
    LABEL_SET_FILE,
    f'"{_FORMAT}"',
    (CLASS_NAMES_FILE, "labels/*.png", "overlays/*.jpg", "overlay.mp4", "*/overlay.mp4"),
)
_MOST_BYTES = 16 * 2**20  # 65534 labels with names take half of it
_EDGE_BRIGHTNESS = 0.35


@dataclass(frozen=True)
class LabelMap:
    """Labels of an image on a grid; cell (i, j) covers stride x stride pixels from (j, i) * stride.

    Raises:
        ValueError: shapes or types disagree.
    """

    labels: NDArray[np.uint16]  # (H, W), below label_count or UNLABELLED
    confidence: NDArray[np.float32]  # (H, W), in [0, 1]
    stride: int  # [px]
    label_count: int

    def __post_init__(self) -> None:
        if self.labels.ndim != 2 or self.labels.dtype != np.uint16:
            raise ValueError("labels must be a uint16 array (H, W)")
        if self.confidence.shape != self.labels.shape or self.confidence.dtype != np.float32:
            raise ValueError("confidence must be a float32 array of the shape of labels")
        if self.stride < 1 or not 1 <= self.label_count < UNLABELLED:
            raise ValueError("stride must be positive and label_count in [1, 65534]")

    def at(self, pixels: NDArray[np.floating]) -> tuple[NDArray[np.uint16], NDArray[np.float32]]:
        """Labels (M,) and confidence (M,) of the cells under pixels (M, 2) of the image."""
        cells = np.floor((pixels + 0.5) / self.stride).astype(np.int64)
        column, row = np.clip(cells, 0, np.array(self.labels.shape[::-1]) - 1).T
        return self.labels[row, column], self.confidence[row, column]


def every_pixel(label_map: LabelMap, height: int, width: int) -> LabelMap:
    """The label map of stride 1 that gives each pixel of an image (H, W) the label of its cell."""
    rows, columns = (np.arange(size) // label_map.stride for size in (height, width))
    cells = np.ix_(rows, columns)
    return LabelMap(label_map.labels[cells], label_map.confidence[cells], 1, label_map.label_count)


def label_pixels(label_map: LabelMap) -> NDArray[np.uint8] | NDArray[np.uint16]:
    """Labels (H, W) as an image: uint8 (unlabelled 255) up to 255 labels, else uint16 (65535)."""
    if label_map.label_count > BYTE_LABELS:
        return label_map.labels
    return label_map.labels.astype(np.uint8)  # 65535 wraps to 255


def label_map_of(
    pixels: NDArray[np.uint8] | NDArray[np.uint16], label_count: int, stride: int
) -> LabelMap:
    """Label map of `label_pixels`; they carry no confidence, so it is 1 where there is a label.

    Raises:
        RecordingError: the pixels are of another type than the label count asks, or above it.
    """
    expected = np.uint8 if label_count <= BYTE_LABELS else np.uint16
    if pixels.dtype != expected:
        raise RecordingError(
            f"{label_count} labels are {np.dtype(expected)} pixels, not {pixels.dtype}"
        )
    labels = pixels.astype(np.uint16)
    labels[pixels == np.iinfo(expected).max] = UNLABELLED
    labelled = labels != UNLABELLED
    if labels[labelled].max(initial=0) >= label_count:
        raise RecordingError(
            f"the label image holds label {labels[labelled].max()}, but there are {label_count}; "
            "is it of another checkpoint?"
        )
    return LabelMap(labels, labelled.astype(np.float32), stride, label_count)


def palette(label_count: int) -> NDArray[np.uint8]:
    """Distinct RGB colours (K, 3), the same for a label whatever K is: hues by the golden ratio."""
    index = np.arange(label_count)
    hue = (index * 0.6180339887) % 1.0 * 6.0
    saturation = 1.0 - (index % 3) * 0.25
    value = 1.0 - (index // 3 % 4) * 0.18
    sector = (np.array([5.0, 3.0, 1.0]) + hue[:, None]) % 6.0
    ramp = np.clip(np.minimum(sector, 4.0 - sector), 0.0, 1.0)
    rgb = value[:, None] * (1.0 - saturation[:, None] * ramp)
    return np.asarray(np.rint(rgb * 255.0), np.uint8)


def colourize(label_map: LabelMap) -> NDArray[np.uint8]:
    """RGB image (H, W, 3) of a label map at its own grid; unlabelled cells are black."""
    colours = np.vstack([palette(label_map.label_count), np.zeros((1, 3), np.uint8)])
    return colours[np.minimum(label_map.labels, label_map.label_count)]


def overlay(image: NDArray[np.uint8], label_map: LabelMap, alpha: float = 0.5) -> NDArray[np.uint8]:
    """Blend of an RGB image (H, W, 3) and its labels' colours; unlabelled pixels stay."""
    height, width = image.shape[:2]
    rows = np.arange(height) // label_map.stride
    columns = np.arange(width) // label_map.stride
    colours = colourize(label_map)[rows][:, columns]
    blended = cv2.addWeighted(image, 1.0 - alpha, colours, alpha, 0.0)
    labelled = (label_map.labels < label_map.label_count)[rows][:, columns, None]
    return np.where(labelled, blended, image).astype(np.uint8)


def outlined_overlay(
    image: NDArray[np.uint8], label_map: LabelMap, alpha: float = 0.5
) -> NDArray[np.uint8]:
    """Blend of an RGB image (H, W, 3) and its labels' colours, with a dark line between labels."""
    pixels = every_pixel(label_map, image.shape[0], image.shape[1])
    blended = overlay(image, pixels, alpha)
    edges = label_edges(pixels.labels)
    blended[edges] = np.rint(blended[edges] * _EDGE_BRIGHTNESS).astype(np.uint8)
    return blended


def label_edges(labels: NDArray[np.uint16]) -> NDArray[np.bool_]:
    """Pixels (H, W) whose label differs from that of the pixel to the right or below."""
    edges = np.zeros(labels.shape, np.bool_)
    edges[:, :-1] |= labels[:, :-1] != labels[:, 1:]
    edges[:-1] |= labels[:-1] != labels[1:]
    return edges


@dataclass(frozen=True)
class LabelSet:
    """The labels of a folder of label images."""

    kind: str
    """"semantic" (labels are classes) or "fgsn" (labels are clusters)"""
    label_count: int
    stride: int
    """pixels of the image per pixel of its label image, in each direction"""
    names: tuple[str, ...] | None
    """of the classes, by label"""
    fingerprint: str
    """of the checkpoint that labelled the images"""


def write_label_set(folder: Path, label_set: LabelSet) -> None:
    """Write labels.json (names, colours, fingerprint) and, where labels have names, classes.txt."""
    count, names = label_set.label_count, label_set.names
    colours = ["#{:02x}{:02x}{:02x}".format(*rgb) for rgb in palette(count).tolist()]
    content = {
        "format": _FORMAT,
        "kind": label_set.kind,
        "label_count": count,
        "stride": label_set.stride,
        "unlabelled": BYTE_LABELS if count <= BYTE_LABELS else UNLABELLED,
        "fingerprint": label_set.fingerprint,
        "labels": [
            {"label": label, "name": names[label] if names else None, "colour": colours[label]}
            for label in range(count)
        ],
    }
    (folder / LABEL_SET_FILE).write_text(json.dumps(content, indent=1) + "\n")
    if names:
        (folder / CLASS_NAMES_FILE).write_text("".join(f"{name}\n" for name in names))


def read_label_set(path: Path) -> LabelSet:
    """Read a labels.json.

    Raises:
        RecordingError: the file cannot be read, or is none.
    """
    try:
        content = parse_json(read_text(path, _MOST_BYTES))
        if content["format"] != _FORMAT:
            raise ValueError(f"format {content['format']!r}")
        names = tuple(label["name"] for label in content["labels"])
        named = len(names) > 0 and all(isinstance(name, str) for name in names)
        read = LabelSet(
            str(content["kind"]),
            int(content["label_count"]),
            int(content["stride"]),
            names if named else None,
            str(content["fingerprint"]),
        )
        if read.stride < 1 or not 1 <= read.label_count < UNLABELLED:
            raise ValueError(f"{read.label_count} labels at stride {read.stride}")
        if len(names) != read.label_count:
            raise ValueError(f"{len(names)} names of {read.label_count} labels")
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        reason = f"lacks {error}" if isinstance(error, KeyError) else " ".join(str(error).split())
        raise RecordingError(f"{path} tells no labels: {reason}; label the images again") from error
    return read
