"""Recall of located images by condition, as the long-term visual localization benchmark states it.

An image counts as right within a distance and an angle of its known pose (Sattler et al., CVPR
2018); one that is not located counts as wrong.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fgsn_ros.errors import RecordingError
from fgsn_ros.evaluation.trajectory_errors import THRESHOLDS, recall_percent
from fgsn_ros.geometry import poses
from fgsn_ros.recordings.benchmark_lists import KnownPose, submitted_name

FloatArray = NDArray[np.float64]
ALL = "all"


@dataclass(frozen=True)
class ImageError:
    """How far a located image is from where it was taken; infinite where it is not located."""

    name: str
    groups: tuple[str, ...]
    """conditions that it counts to"""
    metres: float
    degrees: float


def image_errors(located: Mapping[str, FloatArray], known: Sequence[KnownPose]) -> list[ImageError]:
    """Errors of poses T_camera_world (4, 4) by name, at all images with known poses.

    Names are those of the known poses, or what the benchmark asks for in their place.

    Raises:
        RecordingError: none of the located images is known.
    """
    by_name = {**{submitted_name(name): T for name, T in located.items()}, **located}
    found = [by_name.get(k.name, by_name.get(submitted_name(k.name))) for k in known]
    if all(T is None for T in found):
        raise RecordingError(
            f"none of {len(located)} located images, such as {next(iter(located), 'none')}, is "
            f"one of the {len(known)} with known poses, such as {known[0].name}"
            if known
            else "there are no known poses"
        )
    return [_error(k, T) for k, T in zip(known, found, strict=True)]


def _error(known: KnownPose, T_camera_world: FloatArray | None) -> ImageError:
    if T_camera_world is None:
        return ImageError(known.name, known.groups, np.inf, np.inf)
    difference = poses.compose(known.T_camera_world, poses.invert(T_camera_world))
    metres = float(np.linalg.norm(difference[:3, 3]))
    degrees = float(np.degrees(poses.rotation_angle(difference)))
    return ImageError(known.name, known.groups, metres, degrees)


def recall_by_group(errors: Sequence[ImageError]) -> dict[str, dict[str, Any]]:
    """Recall [%] at `THRESHOLDS`, images and located ones, of each condition and of all."""
    groups: defaultdict[str, list[ImageError]] = defaultdict(list)
    for error in errors:
        for name in error.groups:
            groups[name].append(error)
    named = [(name, groups[name]) for name in sorted(groups)]
    return {name: _recall(group) for name, group in [*named, (ALL, list(errors))]}


def _recall(group: Sequence[ImageError]) -> dict[str, Any]:
    metres, degrees = np.array([(error.metres, error.degrees) for error in group]).T
    located = np.isfinite(metres)
    median = [
        float(np.median(values[located])) if located.any() else None for values in (metres, degrees)
    ]
    return {
        "images": len(group),
        "located": int(located.sum()),
        "recall_percent": list(recall_percent(metres, degrees)),
        "median_m": median[0],
        "median_deg": median[1],
    }


def recall_table(recalls: Mapping[str, Mapping[str, Any]]) -> str:
    """Plain text: a line for each condition."""
    width = max(len(name) for name in ("condition", *recalls))
    heads = [f"{metres:g} m {degrees:g} deg" for metres, degrees in THRESHOLDS]
    lines = [
        f"{'condition':<{width}}{'images':>8}{'located':>9}" + "".join(f"{h:>15}" for h in heads)
    ]
    for name, values in recalls.items():
        shares = "".join(f"{percent:>15.1f}" for percent in values["recall_percent"])
        lines.append(f"{name:<{width}}{values['images']:>8}{values['located']:>9}{shares}")
    return "\n".join([*lines, "recall in % of the images; one that is not located counts as wrong"])
