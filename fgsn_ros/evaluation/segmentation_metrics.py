"""How well labels agree with semantic classes, as classes and as clusters; and the table of it."""

import math
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fgsn_ros.errors import one_line
from fgsn_ros.segmentation.labels import UNLABELLED

MOST_CELLS = 1 << 24
"""Of a table of classes and labels: 65535 labels for each of 256 classes."""

Labels = NDArray[np.integer]
Counts = NDArray[np.int64]
Metrics = dict[str, Any]

_SCORES = (
    ("pixel accuracy", "pixel_accuracy"),
    ("class accuracy", "class_accuracy"),
    ("mean IoU", "mean_iou"),
    ("frequency-weighted IoU", "frequency_weighted_iou"),
    ("normalized mutual information", "normalized_mutual_information"),
)


@dataclass(frozen=True)
class SegmentationScore:
    """Scores of a labelling against the truth, each in [0, 1]; NaN where nothing is labelled.

    Definitions: Long, Shelhamer, Darrell, CVPR 2015, section 5. Classes that occur in neither are
    left out of the means.
    """

    pixel_accuracy: float
    class_accuracy: float
    mean_iou: float
    frequency_weighted_iou: float


@dataclass(frozen=True)
class ClassScores:
    """Scores of each class (K,), in [0, 1]; NaN where a class does not occur."""

    accuracy: NDArray[np.float64]
    """share of the class's pixels that are labelled as it"""
    iou: NDArray[np.float64]
    """pixels that are and are labelled as the class, over those that are or are labelled as it"""


class Contingency:
    """Pixels by true class and label, summed over images; grows with the ids that occur."""

    def __init__(self) -> None:
        self.counts: Counts = np.zeros((0, 0), np.int64)
        """(C, K) pixels [true class, label]"""

    def add(
        self,
        labels: Labels,
        truth: Labels,
        unlabelled: int = UNLABELLED,
        ignored: Collection[int] = (),
    ) -> None:
        """Count arrays of one shape, but for `unlabelled` in either and `ignored` in the truth.

        Raises:
            ValueError: shapes differ, an id is negative, or there are too many ids for a table.
        """
        row, column = _both_labelled(truth, labels, unlabelled)
        kept = ~np.isin(row, list(ignored))
        row, column = row[kept], column[kept]
        rows = max(self.counts.shape[0], int(row.max(initial=-1)) + 1)
        columns = max(self.counts.shape[1], int(column.max(initial=-1)) + 1)
        if rows * columns > MOST_CELLS:
            raise ValueError(
                f"{rows} classes and {columns} labels are too many to compare; take ids from 0 on"
            )
        counts = _pair_counts(row, column, (rows, columns))
        counts[: self.counts.shape[0], : self.counts.shape[1]] += self.counts
        self.counts = counts

    def confusion(self, class_count: int) -> Counts:
        """Confusion matrix (K, K) where labels are classes; pixels of further classes are left out.

        Raises:
            ValueError: a label is not below `class_count`.
        """
        rows, columns = min(self.counts.shape[0], class_count), self.counts.shape[1]
        if columns > class_count:
            raise ValueError(f"labels up to {columns - 1} exceed {class_count} classes")
        confusion = np.zeros((class_count, class_count), np.int64)
        confusion[:rows, :columns] = self.counts[:rows]
        return confusion


def segmentation_score(confusion: Counts) -> SegmentationScore:
    """Scores of a confusion matrix (K, K) [true class, label]."""
    classes = class_scores(confusion)
    of_class, total = confusion.sum(axis=1), confusion.sum()
    with np.errstate(invalid="ignore", divide="ignore"):
        return SegmentationScore(
            pixel_accuracy=float(np.diag(confusion).sum() / total),
            class_accuracy=_mean(classes.accuracy[np.isfinite(classes.accuracy)]),
            mean_iou=_mean(classes.iou[np.isfinite(classes.iou)]),
            frequency_weighted_iou=float((of_class * np.nan_to_num(classes.iou)).sum() / total),
        )


def class_scores(confusion: Counts) -> ClassScores:
    """Scores of each class of a confusion matrix (K, K) [true class, label]."""
    hits = np.diag(confusion).astype(np.float64)
    of_class, labelled = confusion.sum(axis=1), confusion.sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return ClassScores(accuracy=hits / of_class, iou=hits / (of_class + labelled - hits))


def normalized_mutual_information(counts: Counts) -> float:
    """2 I(A; B) / (H(A) + H(B)) of two labellings counted as (A, B), in [0, 1]; NaN without pixels.

    The arithmetic normalisation of Vinh, Epps, Bailey, JMLR 2010, which is scikit-learn's; a
    labelling that puts all in one label says nothing of another (0), unless both do (1).
    """
    total = counts.sum()
    if total == 0:
        return float("nan")
    first, second = counts.sum(axis=1), counts.sum(axis=0)
    row, column = np.nonzero(counts)
    joint = counts[row, column] / total
    ratio = np.log(joint) - np.log(first[row] / total) - np.log(second[column] / total)
    entropies = _entropy(first / total) + _entropy(second / total)
    if entropies == 0.0:
        return 1.0
    return float(np.clip(2.0 * (joint * ratio).sum() / entropies, 0.0, 1.0))


def cluster_metrics(counts: Counts) -> Metrics:
    """Metrics of labels that are clusters, from their table (C, K) [true class, label]."""
    return {
        "pixels": int(counts.sum()),
        "labels_seen": int(np.count_nonzero(counts.sum(axis=0))),
        "classes_seen": int(np.count_nonzero(counts.sum(axis=1))),
        "normalized_mutual_information": _number(normalized_mutual_information(counts)),
    }


def class_metrics(confusion: Counts, names: tuple[str, ...] | None) -> Metrics:
    """Metrics of labels that are classes, from their confusion matrix (K, K) [true class, label].

    What is not defined (an absent class) is None.
    """
    score, of_class = segmentation_score(confusion), class_scores(confusion)
    classes = [
        {
            "name": names[index] if names and index < len(names) else str(index),
            "iou": _number(of_class.iou[index]),
            "accuracy": _number(of_class.accuracy[index]),
            "pixels": int(confusion[index].sum()),
        }
        for index in range(len(confusion))
    ]
    return {
        **cluster_metrics(confusion),
        "pixel_accuracy": _number(score.pixel_accuracy),
        "class_accuracy": _number(score.class_accuracy),
        "mean_iou": _number(score.mean_iou),
        "frequency_weighted_iou": _number(score.frequency_weighted_iou),
        "classes": classes,
    }


def segmentation_table(metrics: Metrics) -> str:
    """Plain-text table of metrics."""
    lines = []
    if metrics.get("classes"):
        lines.append(f"{'class':<32}{'IoU':>10}{'accuracy':>10}{'pixels':>14}")
    for scores in metrics.get("classes", ()):
        cells = _cell(scores["iou"]) + _cell(scores["accuracy"])
        lines.append(f"{one_line(scores['name'], 60):<32}{cells}{scores['pixels']:>14}")
    lines += [f"{text:<32}{_cell(metrics[key])}" for text, key in _SCORES if key in metrics]
    seen = f"{metrics['labels_seen']} labels, {metrics['classes_seen']} classes"
    return "\n".join([*lines, f"{metrics['pixels']} pixels with {seen}"])


def _both_labelled(first: Labels, second: Labels, unlabelled: int) -> tuple[Counts, Counts]:
    """Ids (N,) of the pixels that have one in both."""
    if first.shape != second.shape:
        raise ValueError(f"labellings of shapes {first.shape} and {second.shape} differ")
    both = (first != unlabelled) & (second != unlabelled)
    return first[both].astype(np.int64), second[both].astype(np.int64)


def _pair_counts(row: Counts, column: Counts, shape: tuple[int, int]) -> Counts:
    """How often (R, C) each pair occurs in ids (N,) and (N,)."""
    for ids, count in ((row, shape[0]), (column, shape[1])):
        if ids.size and not 0 <= ids.min() <= ids.max() < count:
            raise ValueError(f"labels {ids.min()} to {ids.max()} exceed {count} classes")
    return np.bincount(row * shape[1] + column, minlength=shape[0] * shape[1]).reshape(shape)


def _entropy(p: NDArray[np.float64]) -> float:
    present = p[p > 0]
    return float(-(present * np.log(present)).sum())


def _mean(values: NDArray[np.float64]) -> float:
    return float(values.mean()) if values.size else float("nan")


def _cell(value: float | None) -> str:
    return f"{'-':>10}" if value is None else f"{value:>10.4f}"


def _number(value: float | NDArray[np.float64]) -> float | None:
    return float(value) if math.isfinite(value) else None
