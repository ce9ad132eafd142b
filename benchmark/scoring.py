"""What the benchmarks share: errors pooled over runs, a cache of label maps, Markdown tables."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fgsn_ros.evaluation.trajectory_errors import (
    THRESHOLDS,
    Score,
    TrajectoryErrors,
    compare,
    lost,
    score_errors,
)
from fgsn_ros.geometry.trajectory import Trajectory
from fgsn_ros.mapping.descriptors import ImageFeatures
from fgsn_ros.outputs import whole_file
from fgsn_ros.recordings.recording import Frame, Recording
from fgsn_ros.segmentation.labels import LabelMap
from fgsn_ros.segmentation.segmenter import Segmenter

FOUND_WITHIN_M = 0.5
FOUND_FOR_S = 1.0


@dataclass(frozen=True)
class Result:
    """Errors of one run."""

    errors: TrajectoryErrors
    """after the frames that the comparison skips"""
    lost: bool
    """position error above 2 m throughout the last second"""
    found_after_s: float
    """first time from which the position error stays below 0.5 m for a second; infinite: never"""


def judged(estimate: Trajectory, reference: Trajectory, skip_s: float = 0.0) -> Result:
    """Errors of an estimate at its poses stamped `skip_s` [s] or more after its first."""
    every = compare(estimate, reference)
    first, last = float(estimate.stamps[0]), float(estimate.stamps[-1])
    kept = compare(estimate.between(first + skip_s, last), reference)
    return Result(kept, lost(every), _found_after_s(every))


def _found_after_s(errors: TrajectoryErrors) -> float:
    near = errors.position_m < FOUND_WITHIN_M
    for index in np.flatnonzero(near):
        following = (errors.stamps >= errors.stamps[index]) & (
            errors.stamps <= errors.stamps[index] + FOUND_FOR_S
        )
        if near[following].all():
            return float(errors.stamps[index] - errors.stamps[0])
    return float("inf")


def pooled(results: Sequence[Result]) -> Score:
    """Score over the frames of all runs; as lost counts whether any run was."""
    parts = [result.errors for result in results]

    def joined(name: str) -> NDArray[np.float64]:
        return np.concatenate([getattr(part, name) for part in parts])

    errors = TrajectoryErrors(
        stamps=joined("stamps"),
        longitudinal_m=joined("longitudinal_m"),
        lateral_m=joined("lateral_m"),
        height_m=joined("height_m"),
        heading_deg=joined("heading_deg"),
        rotation_deg=joined("rotation_deg"),
        left_out=sum(part.left_out for part in parts),
    )
    return score_errors(errors)


def figures(results: Sequence[Result]) -> dict[str, float]:
    """The numbers of a table's row, from the pooled frames of runs; lengths in m, angles in deg."""
    score = pooled(results)
    recalls = {
        f"recall {metres:g} m {degrees:g} deg [%]": recall
        for (metres, degrees), recall in zip(THRESHOLDS, score.recall_percent, strict=True)
    }
    found = np.array([result.found_after_s for result in results])
    return {
        "position": score.position_m.median,
        "lateral": score.lateral_m.median,
        "longitudinal": score.longitudinal_m.median,
        "heading": score.heading_deg.median,
        "position 95 %": score.position_m.p95,
        "position max": score.position_m.maximum,
        **recalls,
        "found after, median [s]": float(np.median(found)),
        "found after, longest [s]": float(found.max()),
        "runs": len(results),
        "lost": sum(result.lost for result in results),
    }


def segmented_once(
    recording: Recording, segmenter: Segmenter, cache: Path | None = None
) -> Callable[[Frame], LabelMap]:
    """Label map of a frame, each frame of the recording (of one camera) segmented once.

    With a cache file, label maps found there are used, and made ones are written there.
    """
    if cache is not None and cache.exists():
        return _read_labels(cache, segmenter)
    maps = {frame.stamp: segmenter.segment(frame.image) for frame in recording.frames()}
    if cache is not None:
        with whole_file(cache) as temporary:
            np.savez_compressed(
                temporary,
                stamps=np.array(list(maps)),
                labels=np.stack([each.labels for each in maps.values()]),
                confidence=np.stack([each.confidence for each in maps.values()]),
            )
    return lambda frame: maps[frame.stamp]


def _read_labels(cache: Path, segmenter: Segmenter) -> Callable[[Frame], LabelMap]:
    with np.load(cache, allow_pickle=False) as arrays:
        stamps, labels, confidence = arrays["stamps"], arrays["labels"], arrays["confidence"]
    index = {float(stamp): i for i, stamp in enumerate(stamps)}

    def label_map(frame: Frame) -> LabelMap:
        i = index[frame.stamp]
        return LabelMap(labels[i], confidence[i], segmenter.stride, segmenter.label_count)

    return label_map


def described_once(
    recording: Recording, extract: Callable[[NDArray[np.uint8]], ImageFeatures], cache: Path
) -> list[ImageFeatures]:
    """Local features of each frame of a recording; kept in a cache file, and found there."""
    if not cache.exists():
        made = [extract(frame.image) for frame in recording.frames()]
        with whole_file(cache) as temporary:
            np.savez(
                temporary,
                counts=np.array([len(each) for each in made]),
                pixels=np.concatenate([each.pixels for each in made]),
                descriptors=np.concatenate([each.descriptors for each in made]),
            )
        return made
    with np.load(cache, allow_pickle=False) as arrays:
        ends = np.cumsum(arrays["counts"])[:-1]
        pixels, descriptors = arrays["pixels"], arrays["descriptors"]
    parts = zip(np.split(pixels, ends), np.split(descriptors, ends), strict=True)
    return [ImageFeatures(*part) for part in parts]


def over_towns(shares: Sequence[float], draws: int = 2000) -> tuple[float, float, float]:
    """Mean of the towns' figures, and its 95 % interval by bootstrap over them."""
    values = np.array(shares)
    drawn = np.random.default_rng(0).integers(len(values), size=(draws, len(values)))
    low, high = np.quantile(values[drawn].mean(axis=1), [0.025, 0.975])
    return float(values.mean()), float(low), float(high)


def markdown_table(rows: Iterable[Mapping[str, str]]) -> str:
    """Markdown table of rows with the same columns."""
    listed = list(rows)
    lines = [listed[0], dict.fromkeys(listed[0], "---"), *listed]
    cells = [list(listed[0]), *(list(line.values()) for line in lines[1:])]
    return "\n".join("| " + " | ".join(line) + " |" for line in cells)


def write_results(folder: Path, name: str, text: str, values: object) -> None:
    """Write name.md and name.json; what is not finite is null, as strict JSON has it."""
    with whole_file(folder / f"{name}.md") as temporary:
        temporary.write_text(text + "\n")
    with whole_file(folder / f"{name}.json") as temporary:
        temporary.write_text(json.dumps(strict(values), indent=2, allow_nan=False) + "\n")


def strict(value: object) -> object:
    """The value as strict JSON has it: what is not finite is null."""
    if isinstance(value, Mapping):
        return {str(key): strict(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [strict(item) for item in value]
    if isinstance(value, np.floating | float):
        return float(value) if np.isfinite(value) else None
    return value
