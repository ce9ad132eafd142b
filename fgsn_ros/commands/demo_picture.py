"""The demo's picture: the road from above, two seasons of one place, and the error over time."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from fgsn_ros.commands.result_folder import Result
from fgsn_ros.evaluation.match_picture import draw_match
from fgsn_ros.evaluation.trajectory_errors import compare
from fgsn_ros.geometry.cameras import CameraMount
from fgsn_ros.geometry.trajectory import Trajectory
from fgsn_ros.localization.estimate import Estimate
from fgsn_ros.mapping.semantic_map import SemanticMap
from fgsn_ros.segmentation.labels import LabelMap, overlay, palette

FloatArray = NDArray[np.float64]
Turn = Callable[[NDArray[np.floating]], FloatArray]

_REFERENCE, _DEAD_RECKONING, _LOCALIZED = "black", "tab:red", "tab:blue"
_MARGIN_M = 20.0
_START_SHOWN_S = 1.5


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
    grid = figure.add_gridspec(2, 6, width_ratios=[2, 2, 2, 2, 2, 2], height_ratios=[1.3, 1])
    turn = _turned_up(scene.reference)
    road = figure.add_subplot(grid[:, :2])
    _draw_points(road, scene, turn)
    _draw_trajectories(road, scene, turn)
    _show(road, turn(scene.reference.poses[:, :2, 3]), _MARGIN_M, 0.62)
    road.set_title("Map points, coloured by label, and the localized drive")
    road.legend(loc="lower right", markerscale=4)
    season = scene.season.capitalize()
    _draw_image(
        figure.add_subplot(grid[0, 2:4]),
        agreement_image(scene),
        f"{season}: labels, and the map's points: green agree, red do not",
    )
    _draw_image(figure.add_subplot(grid[0, 4:]), scene.mapped, "The same place when it was mapped")
    _draw_errors(figure.add_subplot(grid[1, 2:5]), scene)
    _draw_start(figure.add_subplot(grid[1, 5]), scene, turn)
    figure.savefig(path, dpi=100)


def agreement_image(scene: Scene) -> NDArray[np.uint8]:
    """The frame blended with its labels, with the map's points drawn where they are expected."""
    return draw_match(
        overlay(scene.image, scene.label_map, 0.3),
        scene.estimate.T_map_base,
        scene.mount,
        scene.label_map,
        scene.semantic_map,
        scene.log_ratio,
    )


def _turned_up(reference: Trajectory) -> Turn:
    """Turns (N, 2) positions so that the drive goes up in the picture."""
    start, end = reference.poses[[0, -1], :2, 3]
    x, y = (end - start) / max(float(np.linalg.norm(end - start)), 1e-9)
    R = np.array([[y, -x], [x, y]])
    return lambda positions: np.asarray(positions, np.float64) @ R.T


def _draw_points(axes: Any, scene: Scene, turn: Turn) -> None:
    points = scene.semantic_map.all_points()
    xy = turn(points.points[:, :2])
    colours = palette(scene.semantic_map.label_count)[points.labels] / 255.0
    axes.scatter(*xy.T, s=2.0, c=colours, alpha=0.7, linewidths=0)


def _draw_trajectories(axes: Any, scene: Scene, turn: Turn) -> None:
    for trajectory, colour, width, name in (
        (scene.reference, _REFERENCE, 4.0, "ground truth"),
        (scene.result.dead_reckoning, _DEAD_RECKONING, 1.8, "dead reckoning"),
        (scene.result.run.trajectory, _LOCALIZED, 1.8, "localized"),
    ):
        xy = turn(trajectory.poses[:, :2, 3])
        axes.plot(*xy.T, color=colour, linewidth=width, label=name, solid_capstyle="round")
    particles = [snapshot.poses[:, :2, 3] for snapshot in scene.result.run.snapshots]
    xy = turn(np.concatenate(particles))
    axes.scatter(*xy.T, s=4, color="magenta", alpha=0.3, linewidths=0, zorder=3, label="particles")
    here, ahead = turn(
        np.stack([scene.estimate.T_map_base[:2, 3], scene.estimate.T_map_base[:2, :2] @ [9.0, 0.0]])
    )
    arrow = {"arrowstyle": "-|>", "color": _LOCALIZED, "lw": 3}
    axes.annotate("", here + ahead, here, arrowprops=arrow)
    axes.set(xlabel="[m]", ylabel="[m]")


def _show(axes: Any, xy: FloatArray, margin_m: float, aspect: float) -> None:
    """Limit a panel of width / height `aspect` to positions (N, 2) and a margin, to one scale."""
    low, high = xy.min(axis=0) - margin_m, xy.max(axis=0) + margin_m
    centre, half = (low + high) / 2, (high - low) / 2
    half_height = max(half[1], half[0] / aspect)
    axes.set_aspect("equal", adjustable="box")
    axes.set_xlim(centre[0] - aspect * half_height, centre[0] + aspect * half_height)
    axes.set_ylim(centre[1] - half_height, centre[1] + half_height)


def _draw_start(axes: Any, scene: Scene, turn: Turn) -> None:
    _draw_trajectories(axes, scene, turn)
    estimate = scene.result.run.trajectory
    first = estimate.stamps <= estimate.stamps[0] + _START_SHOWN_S
    _show(axes, turn(estimate.poses[first, :2, 3]), 3.0, 0.72)
    axes.set_title(f"The first {_START_SHOWN_S:g} s", fontsize=10)


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
        label = f"{name}, median {np.median(errors.position_m):.2f} m"
        axes.plot(errors.stamps - start, errors.position_m, color=colour, label=label)
    axes.axvline(scene.estimate.stamp - start, color="0.6", linewidth=1, linestyle=":")
    axes.set(xlabel="time [s]", ylabel="position error [m]", ylim=(0, None))
    axes.grid(alpha=0.3)
    axes.legend()
