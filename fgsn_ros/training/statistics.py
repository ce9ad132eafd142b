"""What labels say about each other: counts on held-out correspondences."""

import dataclasses
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fgsn_ros.correspondences.files import NO_CLASS, CorrespondenceFolder
from fgsn_ros.correspondences.images import ImageCache
from fgsn_ros.correspondences.sets import Pair, read_correspondence_sets, validation_pairs
from fgsn_ros.errors import TrainingError
from fgsn_ros.segmentation.checkpoint import Checkpoint
from fgsn_ros.segmentation.networks import STRIDE
from fgsn_ros.segmentation.segmenter import Segmenter, SegmenterSettings
from fgsn_ros.training.grid import IGNORED, labels_at
from fgsn_ros.training.objective import progress_within

Array = NDArray[np.float64]

_GROUPS = 16
_PRIOR_COUNTS = (1.0, 3.0, 10.0, 30.0, 100.0, 300.0)
_MOVING = frozenset(
    {"sky", "car", "cars", "vehicle", "vehicles", "bus", "truck", "train", "motorcycle", "bicycle"}
    | {"pedestrian", "person", "people", "rider", "bicyclist", "cyclist", "animal"}
)
"""Words in the names of classes that a map must not hold: what moves, and the sky."""


@dataclass(frozen=True)
class LabelPairs:
    """Labels that held-out correspondences show, and how often each label is seen at all."""

    counts: Array  # (G, K, K) [group of pairs, observed in target, label at reference]
    observed: Array  # (K,) cells of whole target images
    at_points: Array  # (K,) cells at correspondences, each cell once
    cells: Array  # (K,) cells of all images
    stationary_cells: Array  # (K,) cells of all images on stationary classes
    classed_cells: Array  # (K,) cells of all images that have a class

    def summary(self) -> dict[str, float]:
        """Consistency, entropy [nats], labels in use, and information [nats].

        Information is the mean log-ratio of held-out correspondences (every second group) under
        the table of the others: what a match tells about a pose.
        """
        total = self.counts.sum(axis=0)
        share = self.observed / self.observed.sum()
        used = share[share > 0]
        held_out = self.counts[1::2].sum(axis=0)
        table = log_ratio(self.counts[::2], self.observed)
        return {
            "consistency": float(np.trace(total) / max(total.sum(), 1e-12)),
            "entropy": float(-(used * np.log(used)).sum()),
            "used_labels": float(len(used)),
            "information": float((held_out * table).sum() / max(held_out.sum(), 1e-12)),
        }


def with_statistics(
    checkpoint: Checkpoint, root: Path, cache: ImageCache, title: str = "label statistics"
) -> Checkpoint:
    """The checkpoint with statistics counted on the validation lists of correspondence sets.

    Args:
        checkpoint: Whose labels are counted.
        root: Of the sets, as `read_correspondence_sets` takes it.
        cache: Reads the images.
        title: Of the progress bar.

    Raises:
        FgsnError: a set is damaged or holds no points.
    """
    pairs = validation_pairs(read_correspondence_sets(root))
    segmenter = Segmenter(checkpoint, SegmenterSettings(stride=STRIDE))
    counted = label_pairs(segmenter, pairs, cache, CorrespondenceFolder(root), title)
    if not counted.counts.any():
        raise TrainingError(f"no validation correspondence in {root} lies inside its images")
    return dataclasses.replace(
        checkpoint,
        log_ratio=log_ratio(counted.counts, counted.observed).astype(np.float32),
        stationary=stationary_share(counted, checkpoint.label_names).astype(np.float32),
        training=checkpoint.training | {"statistics": counted.summary()},
    )


def label_pairs(
    segmenter: Segmenter,
    pairs: tuple[Pair, ...],
    cache: ImageCache,
    folder: CorrespondenceFolder | None = None,
    title: str = "label statistics",
) -> LabelPairs:
    """Count labels of pairs of images; classes are counted where `folder` has class images.

    Neighbours in the list, which are often neighbouring frames, are counted in one group.
    """
    count = segmenter.label_count
    groups = np.zeros((min(_GROUPS, len(pairs)), count, count))
    images = {path for pair in pairs for path in (pair.reference, pair.target)}
    ordered = progress_within(sorted(images), title)
    labels = {path: segmenter.segment(cache.colour(path)).labels for path in ordered}
    seen = {path: np.zeros(maps.shape, bool) for path, maps in labels.items()}
    for index, pair in enumerate(pairs):
        points = (
            cache.pixels(pair.reference, pair.reference_points),
            cache.pixels(pair.target, pair.target_points),
        )
        reference = labels_at(labels[pair.reference], points[0])
        target = labels_at(labels[pair.target], points[1])
        known = (reference != IGNORED) & (target != IGNORED)
        cell = (index * len(groups) // len(pairs), target[known], reference[known])
        np.add.at(groups, cell, pair.weights[known])
        _mark(seen[pair.reference], points[0])
        _mark(seen[pair.target], points[1])
    classed, stationary = _class_cells(labels, count, folder)
    return LabelPairs(
        counts=groups,
        observed=_histogram([labels[path] for path in {pair.target: 0 for pair in pairs}], count),
        at_points=_histogram([labels[path][seen[path]] for path in labels], count),
        cells=_histogram(list(labels.values()), count),
        stationary_cells=stationary,
        classed_cells=classed,
    )


def log_ratio(counts: Array, observed: Array, prior_count: float | None = None) -> Array:
    """Table (K, K) of log p(observed | map) - log p(observed), [observed, map].

    Dirichlet smoothing: the prior of an observation is the map's own label with the mean
    consistency, else any label as often as it is seen in whole images, which is also p(observed).

    Args:
        counts: (G, K, K) [group, observed, map].
        observed: (K,) how often each label is seen in whole images.
        prior_count: Weight of the prior in observations; None chooses the likeliest when each
            group in turn is left out.
    """
    total = counts.sum(axis=0)
    share = (observed + 1.0) / (observed + 1.0).sum()
    consistency = (np.trace(total) + 1.0) / (total.sum() + 2.0)
    prior = (1.0 - consistency) * share[:, None] + consistency * np.eye(len(share))

    def posterior(values: Array, weight: float) -> Array:
        return np.asarray((values + weight * prior) / (values.sum(axis=0) + weight))

    if prior_count is None:
        scores = [
            sum(float((group * np.log(posterior(total - group, w))).sum()) for group in counts)
            for w in _PRIOR_COUNTS
        ]
        prior_count = _PRIOR_COUNTS[int(np.argmax(scores))]
    return np.asarray(np.log(posterior(total, prior_count)) - np.log(share)[:, None])


def stationary_share(counted: LabelPairs, names: tuple[str, ...] | None) -> Array:
    """Share (K,) of each label on stationary structure, in [0, 1].

    By the labels' names; else by class images; else by how often a label's cells lie at
    correspondences: 0.5 at a tenth of the average rate. (The paper calls labels with more than
    0.01 of their pixels at correspondences stationary, Larsson et al., ICCV 2019, section 4.3.)
    """
    if names is not None:
        return np.array([float(is_stationary(name)) for name in names])
    if counted.classed_cells.any():
        known = np.maximum(counted.classed_cells, 1.0)
        return np.asarray(counted.stationary_cells / known)
    rate = counted.at_points / np.maximum(counted.cells, 1.0)
    average = counted.at_points.sum() / counted.cells.sum()
    return np.asarray(np.minimum(1.0, 5.0 * rate / average))


def is_stationary(class_name: str) -> bool:
    """Whether a class keeps its place between drives, judged by its name."""
    return _MOVING.isdisjoint(re.split(r"[^a-z]+", class_name.lower()))


def _histogram(arrays: list[NDArray[np.uint16]], count: int) -> Array:
    counts = [np.bincount(a.ravel(), minlength=count)[:count] for a in arrays]
    return np.asarray(np.sum(counts, axis=0), np.float64)


def _mark(seen: NDArray[np.bool_], points: Array) -> None:
    cells = np.floor((points + 0.5) / STRIDE).astype(np.int64)
    inside = ((cells >= 0) & (cells < seen.shape[::-1])).all(axis=1)
    seen[cells[inside, 1], cells[inside, 0]] = True


def _class_cells(
    labels: dict[Path, NDArray[np.uint16]], count: int, folder: CorrespondenceFolder | None
) -> tuple[Array, Array]:
    """Cells (K,) with any class and with a stationary class, judged at the cells' centres."""
    classed, stationary = np.zeros(count), np.zeros(count)
    if folder is None or not folder.classes.is_dir():
        return classed, stationary
    names = folder.class_names()
    stays = np.zeros(256, bool)
    stays[: len(names)] = [is_stationary(name) for name in names]
    cache = ImageCache(0)
    for path, image_labels in labels.items():
        class_path = folder.class_path(str(path.relative_to(folder.images)))
        if not class_path.is_file():
            continue
        classes = cache.classes(class_path)
        rows, columns = (np.arange(n) * STRIDE + STRIDE // 2 for n in image_labels.shape)
        centres = classes[np.minimum(rows, classes.shape[0] - 1)]
        centres = centres[:, np.minimum(columns, classes.shape[1] - 1)]
        classed += _histogram([image_labels[centres != NO_CLASS]], count)
        stationary += _histogram([image_labels[stays[centres]]], count)
    return classed, stationary
