"""The report of labels against classes: metrics for JSON, and a table for the terminal."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fgsn_ros.evaluation.segmentation_metrics import (
    Counts,
    class_scores,
    normalized_mutual_information,
    segmentation_score,
)

Metrics = dict[str, Any]

_SCORES = (
    ("pixel accuracy", "pixel_accuracy"),
    ("class accuracy", "class_accuracy"),
    ("mean IoU", "mean_iou"),
    ("frequency-weighted IoU", "frequency_weighted_iou"),
    ("normalized mutual information", "normalized_mutual_information"),
)


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
        lines.append(f"{scores['name']:<32}{cells}{scores['pixels']:>14}")
    lines += [f"{text:<32}{_cell(metrics[key])}" for text, key in _SCORES if key in metrics]
    seen = f"{metrics['labels_seen']} labels, {metrics['classes_seen']} classes"
    return "\n".join([*lines, f"{metrics['pixels']} pixels with {seen}"])


def _cell(value: float | None) -> str:
    return f"{'-':>10}" if value is None else f"{value:>10.4f}"


def _number(value: float | NDArray[np.float64]) -> float | None:
    return float(value) if math.isfinite(value) else None
