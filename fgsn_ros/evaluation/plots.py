"""Pictures of a report. They use matplotlib's objects alone, with no state beyond the figure."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fgsn_ros.evaluation.trajectory_errors import compare
from fgsn_ros.geometry.trajectory import Trajectory

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_STYLES: dict[str, dict[str, Any]] = {
    "reference": {"color": "0.35", "linewidth": 4.0, "alpha": 0.5},
    "dead reckoning": {"color": "tab:orange", "linewidth": 1.5, "linestyle": "--"},
    "localized": {"color": "tab:blue", "linewidth": 1.5},
}
_DPI = 110
_SMALLEST_AXIS = 0.5  # m or deg; no zoom into a perfect run's rounding


def plot_trajectories(path: Path, trajectories: Mapping[str, Trajectory]) -> None:
    """Top view (x, y of the map [m]) of trajectories by name."""
    figure = _figure(7.0, 7.0)
    axes = figure.add_subplot()
    for name, trajectory in trajectories.items():
        x, y = trajectory.poses[:, 0, 3], trajectory.poses[:, 1, 3]
        axes.plot(x, y, label=name, **_STYLES.get(name, {}))
        axes.plot(x[:1], y[:1], "o", color=_STYLES.get(name, {}).get("color"), markersize=5)
    axes.set_aspect("equal", adjustable="datalim")
    axes.set_xlabel("x [m]")
    axes.set_ylabel("y [m]")
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path, dpi=_DPI)


def plot_errors(path: Path, reference: Trajectory, trajectories: Mapping[str, Trajectory]) -> None:
    """Lateral, longitudinal and heading error over time, of trajectories by name.

    The axes fit the last trajectory; others may leave them.

    Raises:
        TrajectoryError: a trajectory has no time in common with the reference.
    """
    figure = _figure(9.0, 7.0)
    rows = figure.subplots(3, 1, sharex=True)
    for name, trajectory in trajectories.items():
        errors = compare(trajectory, reference)
        seconds = errors.stamps - reference.stamps[0]
        series = errors.lateral_m, errors.longitudinal_m, errors.heading_deg
        for axes, values in zip(rows, series, strict=True):
            axes.plot(seconds, values, label=name, **_STYLES.get(name, {}))
            limit = max(_SMALLEST_AXIS, 1.2 * float(np.abs(values).max()))
            axes.set_ylim(-limit if axes is not rows[-1] else 0.0, limit)
    labels = "lateral error [m]", "longitudinal error [m]", "heading error [deg]"
    for axes, label in zip(rows, labels, strict=True):
        axes.set_ylabel(label)
        axes.grid(alpha=0.3)
    rows[0].legend(loc="upper right")
    rows[-1].set_xlabel("time [s]")
    figure.savefig(path, dpi=_DPI)


def _figure(width_in: float, height_in: float) -> Figure:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width_in, height_in), layout="constrained")
    FigureCanvasAgg(figure)
    return figure
