"""What the numbers of label images mean: labels.json and classes.txt beside them."""

import json
from dataclasses import dataclass
from pathlib import Path

from fgsn_ros.errors import RecordingError
from fgsn_ros.segmentation.checkpoint import Checkpoint
from fgsn_ros.segmentation.labels import BYTE_LABELS, UNLABELLED, palette

LABEL_SET_FILE = "labels.json"
CLASS_NAMES_FILE = "classes.txt"
_FORMAT = "fgsn_ros labels"


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


def label_set_of(checkpoint: Checkpoint, stride: int) -> LabelSet:
    """The label set of images labelled by a checkpoint."""
    names = checkpoint.label_names
    return LabelSet(checkpoint.kind, checkpoint.label_count, stride, names, checkpoint.fingerprint)


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
        content = json.loads(path.read_text())
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
