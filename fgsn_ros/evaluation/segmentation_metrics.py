"""How well labels agree: with semantic classes, between two seasons, and as clusterings."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fgsn_ros.segmentation.labels import UNLABELLED

Labels = NDArray[np.integer]


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


def confusion_matrix(
    labels: Labels, truth: Labels, class_count: int, unlabelled: int = UNLABELLED
) -> NDArray[np.int64]:
    """Counts (K, K) [true class, label] over arrays of one shape, where both are labelled.

    Raises:
        ValueError: shapes differ, or a label is neither below `class_count` nor `unlabelled`.
    """
    return _contingency(labels, truth, (class_count, class_count), unlabelled)


def segmentation_score(confusion: NDArray[np.int64]) -> SegmentationScore:
    """Scores of a confusion matrix (K, K) [true class, label]."""
    hits = np.diag(confusion).astype(np.float64)
    of_class, labelled = confusion.sum(axis=1), confusion.sum(axis=0)
    total, union = confusion.sum(), of_class + labelled - hits
    with np.errstate(invalid="ignore", divide="ignore"):
        iou, accuracy = hits / union, hits / of_class
        return SegmentationScore(
            pixel_accuracy=float(hits.sum() / total),
            class_accuracy=_mean(accuracy[of_class > 0]),
            mean_iou=_mean(iou[union > 0]),
            frequency_weighted_iou=float((of_class * np.nan_to_num(iou)).sum() / total),
        )


def label_consistency(first: Labels, second: Labels, unlabelled: int = UNLABELLED) -> float:
    """Share of correspondences (N,) whose two labels are equal, in [0, 1]; NaN without any.

    Raises:
        ValueError: the sequences differ in length.
    """
    if first.shape != second.shape:
        raise ValueError(f"label sequences of shapes {first.shape} and {second.shape} differ")
    both = (first != unlabelled) & (second != unlabelled)
    return _mean((first == second)[both].astype(np.float64))


def normalized_mutual_information(
    first: Labels, second: Labels, unlabelled: int = UNLABELLED
) -> float:
    """I(A; B) / sqrt(H(A) H(B)) of two labellings of the same pixels, in [0, 1].

    The normalisation of Strehl and Ghosh, JMLR 2002. A labelling with one label says nothing: 0.
    NaN without a pixel that both label.

    Raises:
        ValueError: shapes differ.
    """
    shape = _label_count(first, unlabelled), _label_count(second, unlabelled)
    counts = _contingency(second, first, shape, unlabelled)
    if counts.sum() == 0:
        return float("nan")
    joint = counts / counts.sum()
    p_first, p_second = joint.sum(axis=1), joint.sum(axis=0)
    seen = joint > 0
    ratio = joint[seen] / np.outer(p_first, p_second)[seen]
    information = float((joint[seen] * np.log(ratio)).sum())
    scale = np.sqrt(_entropy(p_first) * _entropy(p_second))
    return float(np.clip(information / scale, 0.0, 1.0)) if scale > 0.0 else 0.0


def _contingency(
    columns: Labels, rows: Labels, shape: tuple[int, int], unlabelled: int
) -> NDArray[np.int64]:
    if columns.shape != rows.shape:
        raise ValueError(f"labellings of shapes {columns.shape} and {rows.shape} differ")
    both = (columns != unlabelled) & (rows != unlabelled)
    column, row = columns[both].astype(np.int64), rows[both].astype(np.int64)
    for labels, count in ((row, shape[0]), (column, shape[1])):
        if labels.size and not 0 <= labels.min() <= labels.max() < count:
            raise ValueError(f"labels {labels.min()} to {labels.max()} exceed {count} classes")
    return np.bincount(row * shape[1] + column, minlength=shape[0] * shape[1]).reshape(shape)


def _label_count(labels: Labels, unlabelled: int) -> int:
    labelled = labels[labels != unlabelled]
    return int(labelled.max()) + 1 if labelled.size else 1


def _entropy(p: NDArray[np.float64]) -> float:
    present = p[p > 0]
    return float(-(present * np.log(present)).sum())


def _mean(values: NDArray[np.float64]) -> float:
    return float(values.mean()) if values.size else float("nan")
