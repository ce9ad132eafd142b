"""`fgsn evaluate segmentation`: label images against class images."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from fgsn_ros.commands.paths import inputs_of
from fgsn_ros.errors import RecordingError
from fgsn_ros.evaluation.label_folders import (
    MOST_CLASSES,
    LabelFolder,
    count_pairs,
    open_label_folder,
    pair_images,
)
from fgsn_ros.evaluation.segmentation_metrics import (
    Contingency,
    Metrics,
    class_metrics,
    cluster_metrics,
    segmentation_table,
)
from fgsn_ros.outputs import check_file, whole_file
from fgsn_ros.segmentation.labels import CLASS_NAMES_FILE
from fgsn_ros.terminal import say
from fgsn_ros.text_files import read_text


@dataclass(frozen=True)
class EvaluateSegmentation:
    """Compare label images with images of semantic classes (PNG) of the same names.

    Labels that are classes get accuracies and IoU; all labels, clusters too, get their normalized
    mutual information with the classes. 255 (16 bit: 65535) is no class and no label.
    """

    labels: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="LABELS")]
    """output of `fgsn segment`, or a folder of label images, on a grid or of full resolution"""
    classes: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="CLASSES")]
    """folder of class images; subfolders match subfolders"""
    class_names: Path | None = None
    """text file of class names, one a line, where labels or classes bring no classes.txt; class
    ids from their number on are ignored"""
    ignore: tuple[int, ...] = ()
    """further class ids to leave out"""
    label_suffix: str = ""
    """how names of label images end beyond what a pair has in common: _leftImg8bit"""
    class_suffix: str = ""
    """how names of class images end beyond that: _gtFine_labelTrainIds"""
    output: Path | None = None
    """JSON file for the metrics; without it the table is printed alone"""
    overwrite: bool = False
    """replace the output file"""

    def run(self) -> None:
        """Print the table, and write the metrics where an output is named."""
        if self.output is not None:
            check_file(self.output, self.overwrite, inputs_of(self))
        folder = open_label_folder(self.labels)
        pairs = pair_images(folder.root, self.classes, self.label_suffix, self.class_suffix)
        stride = folder.label_set.stride if folder.label_set else None
        table = count_pairs(pairs, stride, self.ignore)
        metrics: Metrics = {
            "images": len(pairs.pairs),
            "images_without_classes": pairs.without_classes,
            "images_without_labels": pairs.without_labels,
            **_metrics(table, folder, self._names(folder)),
        }
        if self.output is not None:
            with whole_file(self.output, self.overwrite) as temporary:
                temporary.write_text(json.dumps(metrics, indent=2, allow_nan=False) + "\n")
        say(segmentation_table(metrics))
        say(
            f"{len(pairs.pairs)} images; {pairs.without_classes} without classes and "
            f"{pairs.without_labels} without labels are left out"
        )

    def _names(self, folder: LabelFolder) -> tuple[str, ...] | None:
        """Names of the classes: as asked, or as labels and class images agree."""
        if self.class_names is not None:
            return _lines(self.class_names)
        places = (self.classes, self.classes.resolve().parent)
        found = (place / CLASS_NAMES_FILE for place in places)
        of_classes = next((_lines(path) for path in found if path.is_file()), None)
        of_labels = folder.label_set.names if folder.label_set else None
        if of_labels and of_classes and of_labels != of_classes:
            raise RecordingError(
                f"{self.labels} has other classes than {self.classes}; if ids agree all the same, "
                "name them by --class-names"
            )
        return of_labels or of_classes


def _metrics(table: Contingency, folder: LabelFolder, names: tuple[str, ...] | None) -> Metrics:
    """Scores by class where labels are classes, else those of clusters.

    labels.json tells which; without it, more labels than classes are clusters.
    """
    classes, labels = table.counts.shape
    count = len(names) if names else max(classes, 1)
    kind = folder.label_set.kind if folder.label_set else ""
    if kind == "semantic" and labels > count:
        raise RecordingError(
            f"{folder.root} holds labels up to {labels - 1}, but {count} classes are known; "
            "name all classes by --class-names"
        )
    if kind == "fgsn" or labels > count:
        return cluster_metrics(table.counts[:count])
    if count > MOST_CLASSES:
        raise RecordingError(
            f"{count} classes are named; more than {MOST_CLASSES} are not compared"
        )
    return class_metrics(table.confusion(count), names)


def _lines(path: Path) -> tuple[str, ...]:
    try:
        lines = tuple(line.strip() for line in read_text(path).splitlines() if line.strip())
    except (OSError, UnicodeError) as error:
        raise RecordingError(f"cannot read class names from {path}: {error}") from error
    if not lines:
        raise RecordingError(f"{path} names no classes; write a name a line")
    return lines
