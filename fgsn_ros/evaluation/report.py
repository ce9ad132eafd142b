"""The report of a localized run: trajectory, metrics, plots, and a table for the terminal."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import logging
import math
from collections.abc import Iterable, Mapping
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fgsn_ros.evaluation.consistency import (
    AXES,
    Array,
    Consistency,
    PlanarErrors,
    consistency,
    planar_errors,
    write_covariances,
)
from fgsn_ros.evaluation.trajectory_errors import THRESHOLDS, Score, compare, score
from fgsn_ros.geometry.trajectory import Trajectory, write_tum
from fgsn_ros.outputs import Layout

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Metrics = dict[str, Any]
RESULT_FOLDER = Layout(
    "metrics.json",
    '"thresholds_m_deg"',
    (
        "trajectory.tum",
        "trajectory.png",
        "errors.png",
        "covariances.txt",
        "consistency.png",
        "demo.png",
        *("bag/metadata.yaml", "bag/*.mcap"),
        *("map/meta.json", "map/*.npy"),
    ),
)
"""A report, and what `fgsn localize` and `fgsn demo` put beside it."""

_ROWS = (
    ("position [m]", "position_m"),
    ("lateral [m]", "lateral_m"),
    ("longitudinal [m]", "longitudinal_m"),
    ("height [m]", "height_m"),
    ("heading [deg]", "heading_deg"),
)
_STYLES: dict[str, dict[str, Any]] = {
    "reference": {"color": "0.35", "linewidth": 4.0, "alpha": 0.5},
    "dead reckoning": {"color": "tab:orange", "linewidth": 1.5, "linestyle": "--"},
    "localized": {"color": "tab:blue", "linewidth": 1.5},
}
_DPI = 110
_SMALLEST_AXIS = 0.5  # m or deg; no zoom into a perfect run's rounding
_STATISTICS = {"median": "median", "RMSE": "rmse", "95 %": "p95", "max": "maximum"}

_log = logging.getLogger(__name__)


def summarize(
    estimate: Trajectory,
    reference: Trajectory | None,
    dead_reckoning: Trajectory | None,
    facts: Mapping[str, object],
    skip_s: float = 0.0,
    covariances: Array | None = None,
) -> Metrics:
    """Metrics of a run, ready for strict JSON: what is not finite is None.

    Args:
        estimate: T_map_base at the localized frames.
        reference: T_map_base, if known; not aligned to the estimate.
        dead_reckoning: T_map_base from the same start by odometry alone, if at hand.
        facts: What else the reader must know, such as the odometry's origin, seeds and settings.
        skip_s: Seconds after the first pose that are left out of the errors.
        covariances: (N, 6, 6) of the estimate, in the map's axes, if they are known.

    Raises:
        TrajectoryError: there is a reference but nothing to compare with it.
    """
    told = _told(estimate, covariances, reference)
    metrics = {
        "poses": len(estimate),
        "duration_s": estimate.stamps[-1] - estimate.stamps[0],
        "path_length_m": _path_length_m(estimate, reference),
        "skip_s": skip_s,
        "thresholds_m_deg": THRESHOLDS,
        "localized": _scored(estimate, reference, skip_s),
        "dead_reckoning": _scored(dead_reckoning, reference, skip_s),
        "consistency": None if told is None else _consistent(told, estimate, skip_s),
        "facts": dict(facts),
    }
    plain = _plain(metrics)
    assert isinstance(plain, dict)
    return plain


def write_report(
    folder: Path,
    estimate: Trajectory,
    reference: Trajectory | None,
    dead_reckoning: Trajectory | None,
    facts: Mapping[str, object],
    skip_s: float = 0.0,
    covariances: Array | None = None,
) -> Metrics:
    """Write trajectory.tum, metrics.json, trajectory.png and, with a reference, errors.png.

    With covariances covariances.txt too, and with both consistency.png. Without matplotlib there
    are no plots.

    Takes what `summarize` takes and returns its metrics. `folder` must exist; it is for the caller
    to make it appear whole (`outputs.whole_folder`).

    Raises:
        TrajectoryError: there is a reference but nothing to compare with it.
        OSError: a file cannot be written.
    """
    metrics = summarize(estimate, reference, dead_reckoning, facts, skip_s, covariances)
    named = {
        "reference": reference,
        "dead reckoning": dead_reckoning,
        "localized": estimate,
    }
    present = {name: trajectory for name, trajectory in named.items() if trajectory is not None}
    write_tum(folder / "trajectory.tum", estimate)
    if covariances is not None:
        write_covariances(folder / "covariances.txt", estimate.stamps, covariances)
    text = json.dumps(metrics, indent=2, allow_nan=False)
    (folder / "metrics.json").write_text(text + "\n")
    if importlib.util.find_spec("matplotlib") is None:  # a robot needs no plots
        _log.warning("no plots without matplotlib: pip install 'fgsn_ros[simulation]'")
        return metrics
    plot_trajectories(folder / "trajectory.png", present)
    if reference is not None:
        present.pop("reference")
        plot_errors(folder / "errors.png", reference, present)
    told = _told(estimate, covariances, reference)
    if told is not None:
        plot_consistency(folder / "consistency.png", told)
    return metrics


def evaluation_table(metrics: Metrics) -> str:
    """Plain-text table of metrics, 80 columns wide: dead reckoning against localized."""
    runs = {
        name: metrics[key]
        for name, key in (("dead reckoning", "dead_reckoning"), ("localized", "localized"))
        if metrics[key] is not None
    }
    if not runs:
        return f"{metrics['poses']} poses in {metrics['duration_s']:.1f} s; no reference to compare"
    lines = [_line("", list(runs)), _line("", [_cells(_STATISTICS)] * len(runs))]
    for label, key in _ROWS:
        lines.append(_line(label, [_cells(_numbers(run[key])) for run in runs.values()]))
    recalls = [" / ".join(f"{r:.1f}" for r in run["recall_percent"]) for run in runs.values()]
    lines.append(_line("recall [%] *", recalls))
    lines.append(_line("frames", [str(run["frames"]) for run in runs.values()]))
    lines.append(_line("no reference", [str(run["left_out"]) for run in runs.values()]))
    lines.append(_line("lost", ["yes" if run["lost"] else "no" for run in runs.values()]))
    lines += _consistency_lines(metrics["consistency"])
    bounds = " / ".join(f"{metres:g} m, {degrees:g} deg" for metres, degrees in THRESHOLDS)
    return "\n".join([*lines, f"* within {bounds}"])


def _consistency_lines(found: Mapping[str, Any] | None) -> list[str]:
    """What the covariances were worth, if they are known."""
    if found is None:
        return []
    low, high = found["band"]
    shares = ", ".join(f"{axis} {found['coverage_percent'][axis][-1]:.1f}" for axis in AXES)
    return [
        f"NEES {found['nees']:.2f} of x, y, heading; 3 if the covariance holds, by chance "
        f"{low:.1f} to {high:.1f}",
        f"within 3 sigma [%]: {shares}",
    ]


def _told(
    estimate: Trajectory, covariances: Array | None, reference: Trajectory | None
) -> PlanarErrors | None:
    if covariances is None or reference is None:
        return None
    return planar_errors(estimate, covariances, reference)


def _consistent(told: PlanarErrors, estimate: Trajectory, skip_s: float) -> Consistency | None:
    kept = told.stamps >= estimate.stamps[0] + skip_s
    return consistency([told[kept]]) if kept.any() else None


def _numbers(summary: Mapping[str, float]) -> list[str]:
    return [f"{summary[name]:.3f}" for name in _STATISTICS.values()]


def _cells(values: Iterable[str]) -> str:
    return "".join(f"{value:>8}" for value in values)


def _line(label: str, values: list[str]) -> str:
    return f"{label:<16}" + "".join(f"{value:>32}" for value in values)


def _path_length_m(estimate: Trajectory, reference: Trajectory | None) -> float:
    """Length driven; along the reference where there is one, as noise lengthens an estimate.

    What lies in the reference's holes does not count.
    """
    if reference is None:
        return estimate.length_m()
    first, last = estimate.stamps[[0, -1]]
    length_m = 0.0
    for piece in reference.pieces():
        ends = np.clip([first, last], *piece.stamps[[0, -1]])
        inside = (piece.stamps > ends[0]) & (piece.stamps < ends[1])
        stamps = np.unique([ends[0], *piece.stamps[inside], ends[1]])
        length_m += Trajectory(stamps, piece.at(stamps)).length_m()
    return length_m


def _scored(
    trajectory: Trajectory | None, reference: Trajectory | None, skip_s: float
) -> Score | None:
    if trajectory is None or reference is None:
        return None
    return score(trajectory, reference, skip_s)


def _plain(value: object) -> object:
    """The value in JSON's own types."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: _plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        return _plain(value.tolist())
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, Enum):
        return value.name.lower()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, bool | int | str) else str(value)


def plot_trajectories(path: Path, trajectories: Mapping[str, Trajectory]) -> None:
    """Top view (x, y of the map [m]) of trajectories by name."""
    figure = _figure(7.0, 7.0)
    axes = figure.add_subplot()
    for name, trajectory in trajectories.items():
        x, y = np.insert(trajectory.poses[:, :2, 3], trajectory.holes + 1, np.nan, axis=0).T
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


def plot_consistency(path: Path, told: PlanarErrors) -> None:
    """Signed errors over time within the 1 and 3 sigma that were told with them."""
    figure = _figure(9.0, 7.0)
    rows = figure.subplots(3, 1, sharex=True)
    seconds = told.stamps - told.stamps[0]
    degrees = np.array([1.0, 1.0, np.degrees(1.0)])
    series = zip(rows, (told.errors * degrees).T, (told.sigmas * degrees).T, strict=True)
    for axes, errors, sigma in series:
        for times, alpha in ((3.0, 0.15), (1.0, 0.3)):
            band = -times * sigma, times * sigma
            label = f"{times:g} sigma"
            axes.fill_between(seconds, *band, color="tab:blue", alpha=alpha, lw=0, label=label)
        axes.plot(seconds, errors, color="tab:red", linewidth=1.2, label="error")
        limit = max(1.2 * float(np.abs(errors).max()), 4.0 * float(np.median(sigma)))
        axes.set_ylim(-limit, limit)
        axes.grid(alpha=0.3)
    for axes, name in zip(rows, ("longitudinal [m]", "lateral [m]", "heading [deg]"), strict=True):
        axes.set_ylabel(name)
    rows[0].legend(loc="upper right")
    rows[-1].set_xlabel("time [s]")
    figure.savefig(path, dpi=_DPI)


def _figure(width_in: float, height_in: float) -> Figure:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width_in, height_in), layout="constrained")
    FigureCanvasAgg(figure)
    return figure
