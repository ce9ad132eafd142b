"""The demo's picture: the road from above, two seasons of one place, and the error over time."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from fgsn_ros.commands.result_folder import Result
from fgsn_ros.evaluation.trajectory_errors import compare
from fgsn_ros.geometry import poses
from fgsn_ros.geometry.trajectory import Trajectory
from fgsn_ros.localization.estimate import Estimate
from fgsn_ros.mapping.semantic_map import SemanticMap
from fgsn_ros.segmentation.labels import LabelMap, overlay, palette
from fgsn_ros.sequences.recording import CameraMount

FloatArray = NDArray[np.float64]

_REFERENCE, _DEAD_RECKONING, _LOCALIZED = "black", "tab:red", "tab:blue"
_AGREES, _DISAGREES = (40, 220, 60), (235, 40, 40)  # RGB
_POINTS_DRAWN = 1500
_NEAR_M, _FAR_M = 3.0, 50.0
_MARGIN_M = 25.0


@dataclass(frozen=True)
class Scene:
    """What the picture shows."""

    semantic_map: SemanticMap
    log_ratio: NDArray[np.float32]
    """(K, K) label statistics [observed, map]"""
    mount: CameraMount
    season: str
    reference: Trajectory
    result: Result
    estimate: Estimate
    """of the frame that is shown"""
    image: NDArray[np.uint8]
    """that frame, RGB"""
    label_map: LabelMap
    mapped: NDArray[np.uint8]
    """the same place in the drive that the map was made of, RGB"""


def draw(path: Path, scene: Scene) -> None:
    """Write the picture as PNG."""
    figure = Figure(figsize=(18, 10), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.add_gridspec(2, 3, width_ratios=[1.05, 1, 1], height_ratios=[1.25, 1])
    _draw_road(figure.add_subplot(grid[:, 0]), scene)
    season = scene.season.capitalize()
    _draw_image(
        figure.add_subplot(grid[0, 1]),
        agreement_image(scene),
        f"{season}: labels, and map points that agree (green) or not (red)",
    )
    _draw_image(figure.add_subplot(grid[0, 2]), scene.mapped, "The same place when it was mapped")
    _draw_errors(figure.add_subplot(grid[1, 1:]), scene)
    figure.savefig(path, dpi=100)


def agreement_image(scene: Scene) -> NDArray[np.uint8]:
    """The frame blended with its labels, with the map's points drawn where they are expected.

    A point is green where its label and the one that is seen at it are likelier together than
    apart (log-ratio above zero), else red.
    """
    image = np.ascontiguousarray(overlay(scene.image, scene.label_map, 0.45))
    pixels, labels = _expected(scene)
    favoured = scene.log_ratio[_observed(scene.label_map, pixels), labels] > 0.0
    for (u, v), agrees in zip(np.rint(pixels).astype(int), favoured, strict=True):
        cv2.circle(image, (int(u), int(v)), 3, (0, 0, 0), -1, cv2.LINE_AA)
        colour = _AGREES if agrees else _DISAGREES
        cv2.circle(image, (int(u), int(v)), 2, colour, -1, cv2.LINE_AA)
    return image


def _expected(scene: Scene) -> tuple[FloatArray, NDArray[np.uint16]]:
    """Pixels and labels of map points that the camera should see from the estimated pose."""
    T_map_camera = poses.compose(scene.estimate.T_map_base, scene.mount.T_base_camera)
    near = scene.semantic_map.points_near(T_map_camera[:3, 3], _FAR_M)
    points = scene.semantic_map.points[near].astype(np.float64)
    sight = points - T_map_camera[:3, 3]
    distance = np.linalg.norm(sight, axis=1)
    facing = np.einsum("ij,ij->i", sight, scene.semantic_map.directions[near]) / distance
    pixels, inside = scene.mount.camera.project(poses.transform(poses.invert(T_map_camera), points))
    seen = inside & (facing > np.cos(np.deg2rad(30))) & (distance > _NEAR_M)
    seen &= distance < 1.5 * scene.semantic_map.max_range[near]
    chosen = np.flatnonzero(seen)
    chosen = chosen[:: max(1, len(chosen) // _POINTS_DRAWN)]
    return pixels[chosen], np.asarray(scene.semantic_map.labels[near][chosen])


def _observed(label_map: LabelMap, pixels: FloatArray) -> NDArray[np.int64]:
    cells = np.floor((pixels + 0.5) / label_map.stride).astype(np.int64)
    height, width = label_map.labels.shape
    columns, rows = np.clip(cells, 0, [width - 1, height - 1]).T
    observed: NDArray[np.int64] = label_map.labels[rows, columns].astype(np.int64)
    return observed


def _draw_road(axes: Any, scene: Scene) -> None:
    points = np.asarray(scene.semantic_map.points[::2])
    colours = palette(scene.semantic_map.label_count)[scene.semantic_map.labels[::2]] / 255.0
    axes.scatter(points[:, 0], points[:, 1], s=0.6, c=colours, alpha=0.6, linewidths=0)
    for trajectory, colour, width, name in (
        (scene.reference, _REFERENCE, 3.0, "ground truth"),
        (scene.result.dead_reckoning, _DEAD_RECKONING, 1.8, "dead reckoning"),
        (scene.result.run.trajectory, _LOCALIZED, 1.8, "localized"),
    ):
        xy = trajectory.poses[:, :2, 3]
        axes.plot(xy[:, 0], xy[:, 1], color=colour, linewidth=width, label=name)
    for index, snapshot in enumerate(scene.result.run.snapshots):
        positions = snapshot.poses[:, :2, 3]
        label = "particles, at times" if index == 0 else None
        axes.scatter(
            positions[:, 0],
            positions[:, 1],
            s=3,
            color="magenta",
            alpha=0.4,
            linewidths=0,
            label=label,
            zorder=3,
        )
    here = scene.estimate.T_map_base
    axes.annotate(
        "",
        here[:2, 3] + 9 * here[:2, 0],
        here[:2, 3],
        arrowprops={"arrowstyle": "-|>", "color": _LOCALIZED, "lw": 3},
    )
    _frame(axes, scene.reference.poses[:, :2, 3])
    axes.legend(loc="upper left", markerscale=3)
    axes.set(
        xlabel="x [m]", ylabel="y [m]", title="Map points by label, and the winter drive on it"
    )


def _frame(axes: Any, xy: FloatArray) -> None:
    low, high = xy.min(axis=0) - _MARGIN_M, xy.max(axis=0) + _MARGIN_M
    axes.set_aspect("equal", adjustable="datalim")
    axes.set_xlim(low[0], high[0])
    axes.set_ylim(low[1], high[1])


def _draw_image(axes: Any, image: NDArray[np.uint8], title: str) -> None:
    axes.imshow(image)
    axes.set_title(title, fontsize=10)
    axes.set_axis_off()


def _draw_errors(axes: Any, scene: Scene) -> None:
    start = float(scene.result.run.trajectory.stamps[0])
    for trajectory, colour, name in (
        (scene.result.dead_reckoning, _DEAD_RECKONING, "dead reckoning"),
        (scene.result.run.trajectory, _LOCALIZED, "localized"),
    ):
        errors = compare(trajectory, scene.reference)
        median = float(np.median(errors.position_m))
        label = f"{name}, median {median:.2f} m"
        axes.plot(errors.stamps - start, errors.position_m, color=colour, label=label)
    axes.axvline(scene.estimate.stamp - start, color="0.6", linewidth=1, linestyle=":")
    axes.set(xlabel="time [s]", ylabel="position error [m]", ylim=(0, None))
    axes.grid(alpha=0.3)
    axes.legend()
