"""Pictures of Nordland's line: paths and errors as plots, and map points in photographs."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import cv2
import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from nordland_drive_tables import STRETCHES, Judged, by_method, of_stretch

from fgsn_ros.geometry import poses
from fgsn_ros.geometry.trajectory import Trajectory
from fgsn_ros.mapping.semantic_map import SemanticMap
from fgsn_ros.outputs import whole_file
from fgsn_ros.recordings.recording import Frame, Recording, require_ground_truth
from fgsn_ros.segmentation.labels import LabelMap

_DRAWN = 15, 45
"""Frames whose points are drawn, one in each half."""
_GREEN, _RED = (60, 220, 60), (230, 60, 50)


def draw_paths(path: Path, judged: Sequence[Judged], references: Mapping[str, Trajectory]) -> None:
    """The reference of each season, and the first run of each method."""
    figure, axes = plt.subplots(1, len(references), figsize=(12, 5), layout="constrained")
    for axis, (season, reference) in zip(axes, references.items(), strict=True):
        axis.plot(*reference.poses[:, :2, 3].T, color="black", linewidth=3, label="reference")
        for method, runs in by_method(judged, season).items():
            first = next(run for run in runs if run.last == STRETCHES["all"][1])
            axis.plot(first.x, first.y, linewidth=1, label=method)
        axis.set(title=f"{season} on a map of the other season", xlabel="east [m]")
        axis.set_aspect("equal")
    axes[0].set_ylabel("north [m]")
    axes[-1].legend(fontsize="small", loc="upper left", bbox_to_anchor=(1.0, 1.0))
    _save(path, figure)


def draw_errors(path: Path, judged: Sequence[Judged]) -> None:
    """Median errors by stretch and method."""
    seasons = dict.fromkeys(run.season for run in judged)
    figure, axes = plt.subplots(
        2, len(seasons), figsize=(12, 7), sharey="row", layout="constrained"
    )
    names = ("along the track", "along_m"), ("lateral", "lateral_m")
    for column, season in enumerate(seasons):
        methods = by_method(judged, season)
        width = 0.8 / len(methods)
        for axis, (title, name) in zip(axes[:, column], names, strict=True):
            for number, (method, runs) in enumerate(methods.items()):
                values = [np.median(of_stretch(runs, name, *each)) for each in STRETCHES.values()]
                axis.bar(np.arange(len(values)) + number * width, values, width, label=method)
            axis.set_xticks(np.arange(len(STRETCHES)) + 0.4 - 0.5 * width, list(STRETCHES))
            axis.set_yscale("log")
            axis.set(title=f"{season} localized, {title}", ylabel="median error [m]")
            axis.set_xlabel("frames")
    axes[0, 0].legend(fontsize="small")
    _save(path, figure)


def _save(path: Path, figure: "plt.Figure") -> None:
    with whole_file(path) as temporary:
        figure.savefig(temporary, format="png", dpi=90)
    plt.close(figure)


def draw_points(
    folder: Path,
    recording: Recording,
    semantic_map: SemanticMap,
    labels: Callable[[Frame], LabelMap],
) -> None:
    """Map points at the reference poses: green where the photograph's label is theirs."""
    folder.mkdir(parents=True, exist_ok=True)
    for frame in recording.frames():
        if round(frame.stamp) in _DRAWN:
            drawn = _with_points(recording, frame, semantic_map, labels(frame))
            with whole_file(folder / f"points_{round(frame.stamp):02d}.jpg") as temporary:
                done, data = cv2.imencode(".jpg", drawn[..., ::-1])
                assert done
                temporary.write_bytes(data.tobytes())


def _with_points(
    recording: Recording, frame: Frame, semantic_map: SemanticMap, label_map: LabelMap
) -> np.ndarray:
    mount = recording.cameras[frame.camera]
    T_map_base = require_ground_truth(recording).at(frame.stamp)
    T_map_camera = poses.compose(T_map_base, mount.T_base_camera)
    points = semantic_map.points_near(T_map_camera[:3, 3], 80.0)
    sight = points.points - T_map_camera[:3, 3]
    ranges = np.linalg.norm(sight, axis=1)
    pixels, valid = mount.camera.project(sight @ T_map_camera[:3, :3])
    valid &= (ranges > points.min_range / 1.5) & (ranges < points.max_range * 1.5)
    inside = (pixels >= 0.0) & (pixels < [mount.camera.width, mount.camera.height])
    shown = np.flatnonzero(valid & inside.all(axis=1))
    seen, _ = label_map.at(pixels[shown].astype(np.float32))
    drawn = frame.image.copy()
    for pixel, agrees in zip(pixels[shown], seen == points.labels[shown], strict=True):
        centre = tuple(np.rint(pixel).astype(int).tolist())
        cv2.circle(drawn, centre, 4, _GREEN if agrees else _RED, -1)
    return drawn
