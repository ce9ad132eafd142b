"""Each step of a frame in the filter, beside the plain way to do it and what the machine could do.

    python benchmark/frame_steps.py

The street of synthetic_street.py; shortest times over its frames, so that other work on the machine
disturbs the least; a frame that is weighed in several layers counts by the layer. Reference: the
filter with its particles as PyTorch tensors on the CPU, array by array, for propagate, estimate and
resample; NumPy for select (a mask for each condition) and weigh (`score_particles_numpy`).

Bounds: what cannot be left out, each measured alone in the same run. propagate: drawing its random
numbers and writing each particle's pose before and after. select: reading the neighbourhood once,
and the draws among the visible points. weigh: arithmetic and reads as in measurement_kernel.py.
estimate: reading each pose and each chosen point once. resample: copying the particles once. Where
particles are few, NumPy's and Python's calls are most of a step, and no bound counts them.
"""

import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numba
import numpy as np
import numpy.typing as npt
import synthetic_street
import tyro
from measurement_kernel import Case
from scoring import markdown_table, write_results

from fgsn_ros.geometry import poses
from fgsn_ros.localization import localizer as localizer_module
from fgsn_ros.localization.device import TensorRandom
from fgsn_ros.localization.localizer import Localizer, LocalizerSettings
from fgsn_ros.localization.measurement import MeasurementSettings
from fgsn_ros.localization.selection import SelectionSettings, spread_over_image

Array = npt.NDArray[np.float64]
STEPS = ("propagate", "select", "weigh", "estimate", "resample")
CASES: tuple[tuple[Literal["planar", "spatial"], int, int], ...] = (
    ("planar", 1000, 1000),
    ("spatial", 1000, 1000),
    ("planar", 2000, 3000),
)
_WARM_UP, _AROUND_M = 3, 95.0


@dataclass(frozen=True)
class FrameSteps:
    """Measure the steps of a frame."""

    frames: int = 40
    """frames of the drive"""
    output: Path = Path("benchmark/results")
    """folder of frame_steps.md and .json"""

    def run(self) -> None:
        """Measure, print and write."""
        drive = synthetic_street.drive(self.frames)
        rows = [row for case in CASES for row in self._rows(drive, *case)]
        text = (
            f"{markdown_table(rows)}\n\n{numba.get_num_threads()} threads weigh. Shortest of "
            f"{self.frames - _WARM_UP} frames; weigh is one layer of it."
        )
        print(text)
        write_results(self.output, "frame_steps", text, rows)

    def _rows(
        self, drive: synthetic_street.Drive, model: Literal["planar", "spatial"], n: int, m: int
    ) -> list[dict[str, str]]:
        settings = LocalizerSettings(
            model=model,
            min_particles=n,
            max_particles=n,
            measurement=MeasurementSettings(points=m),
        )
        took = fastest(drive, drive.localizer(settings))
        reference = {**fastest(drive, on_tensors(drive, settings)), **plain(drive, n, m)}
        least = bounds(drive, model, n, m)
        return [
            {
                "model": model,
                "particles x points": f"{n:,} x {m:,}",
                "step": step,
                "[ms]": f"{1e3 * took[step]:.3f}",
                "reference [ms]": f"{1e3 * reference[step]:.3f}",
                "faster": f"{reference[step] / took[step]:.1f} x",
                "bound [ms]": f"{1e3 * least[step]:.3f}",
                "times the bound": f"{took[step] / least[step]:.1f}",
            }
            for step in STEPS
        ]


def fastest(drive: synthetic_street.Drive, localizer: Localizer) -> dict[str, float]:
    """Shortest time of each step over the frames [s]."""
    best: dict[str, float] = defaultdict(lambda: float("inf"))
    for index, (T, label_map) in enumerate(zip(drive.truth, drive.label_maps, strict=True)):
        localizer.seconds.clear()
        localizer.add_odometry(0.1 * index, T)
        estimate = localizer.add_labels(0.1 * index, "camera", label_map)
        assert estimate is not None
        if index >= _WARM_UP:
            localizer.seconds["weigh"] /= estimate.layers
            for step in STEPS:
                best[step] = min(best[step], localizer.seconds[step])
    return best


def on_tensors(drive: synthetic_street.Drive, settings: LocalizerSettings) -> Localizer:
    """The filter on PyTorch's tensors, on the CPU."""
    arrays = localizer_module.random_numbers
    tensors: Any = lambda *_: TensorRandom("cpu", 0)  # noqa: E731
    localizer_module.random_numbers = tensors
    try:
        return drive.localizer(settings)
    finally:
        localizer_module.random_numbers = arrays


def plain(drive: synthetic_street.Drive, particles: int, points: int) -> dict[str, float]:
    """NumPy's times of choosing the points and of weighing [s]."""
    case = Case(synthetic_street.LABELS, True, True, particles, points)
    return {"select": shortest(_Chosen(drive, points).plainly), "weigh": shortest(case.plain, 3)}


def bounds(
    drive: synthetic_street.Drive, model: str, particles: int, points: int
) -> dict[str, float]:
    """Of each step [s]."""
    rng, shape = np.random.default_rng(0), (particles, 4 if model == "planar" else 6)
    T, states = np.zeros((2, particles, 4, 4)), np.zeros(shape)
    kept = np.sort(rng.integers(0, particles, particles))
    case = Case(synthetic_street.LABELS, True, True, particles, points)
    chosen = _Chosen(drive, points)
    near = (chosen.near.points, chosen.near.directions, chosen.near.min_range)
    visible = len(chosen.visible()[0])
    return {
        "propagate": shortest(lambda: rng.standard_normal(shape)) + shortest(lambda: T.fill(0.0)),
        "select": shortest(lambda: [each.sum() for each in near])
        + shortest(lambda: (rng.permutation(visible), rng.random(visible))),
        "weigh": shortest(case.arithmetic) + shortest(case.reads),
        "estimate": shortest(lambda: T[0].sum()) + shortest(lambda: near[0][:points].sum()),
        "resample": shortest(lambda: states[kept]),
    }


class _Chosen:
    """The choice of points of one frame, in NumPy: a mask for each condition."""

    def __init__(self, drive: synthetic_street.Drive, points: int) -> None:
        self._points, self._settings = points, SelectionSettings()
        self._T = poses.compose(drive.truth[len(drive.truth) // 2], drive.mount.T_base_camera)
        self._camera = drive.mount.camera.at_stride(synthetic_street.STRIDE).undistorted()
        self.near = drive.semantic_map.points_near(self._T[:3, 3], _AROUND_M)

    def visible(self) -> tuple[npt.NDArray[np.int64], Array]:
        """Indices and pixels of those expected in the image."""
        near, slack = self.near, self._settings.range_slack
        rays = near.points - self._T[:3, 3].astype(np.float32)
        distance = np.sqrt(np.einsum("ij,ij->i", rays, rays))
        aligned = np.einsum("ij,ij->i", rays, near.directions)
        expected = (distance >= near.min_range / slack) & (distance <= near.max_range * slack)
        expected &= aligned >= np.cos(np.deg2rad(self._settings.view_angle_deg)) * distance
        kept = np.flatnonzero(expected & (distance <= self._settings.radius_m))
        in_camera = poses.transform(poses.invert(self._T), near.points[kept])
        uv, valid = self._camera.project(in_camera)
        return kept[valid], uv[valid]

    def plainly(self) -> object:
        """Those of one frame."""
        kept, uv = self.visible()
        size = np.array([self._camera.width, self._camera.height])
        rng = np.random.default_rng(0)
        drawn = spread_over_image(uv, size, self._settings.buckets, self._points, rng)
        return kept[drawn]


def shortest(call: Callable[[], object], rounds: int = 20) -> float:
    """Shortest time of a call [s]."""
    best = float("inf")
    for _ in range(rounds):
        start = time.perf_counter()
        call()
        best = min(best, time.perf_counter() - start)
    return best


if __name__ == "__main__":
    tyro.cli(FrameSteps, description=__doc__).run()
