"""Speed of the compiled measurement kernel against NumPy, and against the machine.

    python benchmark/measurement_kernel.py

One frame of a 640x480 camera with labels every 4 pixels, 2000 particles, 3000 points; planar and
SE(3) particles, a pinhole and a distorted camera, 20 to 1000 labels. A projection is one point
projected for one particle, its label looked up and its evidence added. `update` is all that comes
of a label map: undistorted, points laid out, poses turned into projections, scores.

The machine's limit is the time of the two parts that no such kernel can leave out, each measured
alone with all its data in registers or in the L1 cache, added up, as both keep the same cores busy:
the arithmetic of a projection (vectorised), and its two reads that depend on one another (the label
of the cell, the label's evidence: no vector instruction speeds them up).
Everything takes turns; shortest times, so that other work on the machine disturbs the least.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numba
import numpy as np
import numpy.typing as npt
import tyro
from scoring import markdown_table, write_results

from fgsn_ros.geometry import poses
from fgsn_ros.geometry.cameras import T_BASE_OPTICAL, Camera
from fgsn_ros.localization import kernel
from fgsn_ros.localization.measurement import EvidenceTable, FrameLikelihood, PinholeGrid
from fgsn_ros.localization.selection import SelectedPoints
from fgsn_ros.segmentation.labels import LabelMap

Array = npt.NDArray[np.float64]
STRIDE = 4
DISTORTION = (-0.12, 0.03, 0.0006, -0.0004, 0.0)
LABEL_COUNTS = (20, 200, 1000)
_DIFFERENCE = "Largest difference from NumPy's, of the largest score: by points on a cell's border."


@dataclass(frozen=True)
class KernelSpeed:
    """Measure the kernel."""

    particles: int = 2000
    points: int = 3000
    rounds: int = 7
    """calls of each, of which the fastest counts"""
    output: Path = Path("benchmark/results")
    """folder of measurement_kernel.md and .json"""

    def run(self) -> None:
        """Measure, print and write."""
        rows = [
            self._row(Case(count, spatial, distorted, self.particles, self.points))
            for count in LABEL_COUNTS
            for spatial, distorted in ((False, False), (False, True), (True, False), (True, True))
        ]
        text = f"{markdown_table(rows)}\n\n{numba.get_num_threads()} threads. {_DIFFERENCE}"
        print(text)
        write_results(self.output, "measurement_kernel", text, rows)

    def _row(self, case: "Case") -> dict[str, str]:
        calls = {
            "numpy": case.plain,
            "kernel": case.scores,
            "update": case.update,
            "arithmetic": case.arithmetic,
            "reads": case.reads,
        }
        difference = np.abs(case.scores() - case.plain()).max() / np.abs(case.plain()).max()
        took = {name: 1e9 * s / case.work for name, s in seconds(calls, self.rounds).items()}
        limit = took["arithmetic"] + took["reads"]
        return {
            "labels": str(case.label_count),
            "particles": "SE(3)" if case.spatial else "planar",
            "camera": "distorted" if case.distorted else "pinhole",
            "kernel [ns a projection]": f"{took['kernel']:.3f}",
            "[1e9/s]": f"{1.0 / took['kernel']:.2f}",
            "update [ns]": f"{took['update']:.3f}",
            "[1e9/s] ": f"{1.0 / took['update']:.2f}",
            "NumPy float32 [ns]": f"{took['numpy']:.1f}",
            "faster": f"{took['numpy'] / took['kernel']:.0f} x",
            "arithmetic alone [ns]": f"{took['arithmetic']:.3f}",
            "reads alone [ns]": f"{took['reads']:.3f}",
            "share of the limit": f"{limit / took['kernel']:.0%}",
            "largest difference": f"{difference:.0e}",
        }


class Case:
    """One frame: poses around a camera that sees the points, a metre and some degrees apart."""

    def __init__(
        self, label_count: int, spatial: bool, distorted: bool, particles: int, points: int
    ) -> None:
        rng = np.random.default_rng(0)
        self.label_count, self.spatial, self.distorted = label_count, spatial, distorted
        self.work = particles * points
        model = ("plumb_bob", DISTORTION) if distorted else ("plumb_bob", (0.0,) * 5)
        self._pinhole = PinholeGrid(Camera(640, 480, 400.0, 400.0, 317.5, 241.9, *model), STRIDE)
        self._labels = LabelMap(
            rng.integers(0, label_count, (480 // STRIDE, 640 // STRIDE)).astype(np.uint16),
            np.ones((480 // STRIDE, 640 // STRIDE), np.float32),
            STRIDE,
            label_count,
        )
        self._table = EvidenceTable(rng.normal(size=(label_count, label_count)), 0.35)
        self._selected = _points(rng, self._pinhole.camera, label_count, points)
        self._T_map_base = _poses(rng, spatial, particles)
        self._grid = self._pinhole.labels(self._labels, label_count)
        self._projections = self._likelihood()._projections(self._T_map_base)
        self._evidence = kernel.Evidence(*self._arguments())
        self._plain = tuple(
            a.astype(np.float32) if a.dtype == np.float64 else a
            for a in map(np.asarray, self._arguments())
        )
        self._machine = _Machine(rng, self._grid, self._table.values, self.work)

    def _likelihood(self) -> FrameLikelihood:
        return FrameLikelihood(
            self._pinhole,
            T_BASE_OPTICAL,
            self._pinhole.labels(self._labels, self.label_count),
            self._selected,
            self._table,
            0.3,
            1.0,
        )

    def _arguments(self) -> tuple[object, ...]:
        s = self._selected
        origin = s.points.mean(axis=0)
        return (
            s.points - origin, s.labels, s.weights, s.depths, 0.3, self._table.values, self._grid,
        )  # fmt: skip

    def plain(self) -> Array:
        """NumPy at single precision."""
        return kernel.score_particles_numpy(self._projections.astype(np.float32), *self._plain)

    def scores(self) -> npt.NDArray[np.float32]:
        """The kernel alone."""
        return self._evidence.scores(self._projections)

    def update(self) -> Array:
        """From label map and poses to log-likelihoods."""
        return self._likelihood()(self._T_map_base)

    def arithmetic(self) -> float:
        """The limit's first part."""
        return self._machine.arithmetic()

    def reads(self) -> float:
        """The limit's second part."""
        return self._machine.reads()


def _points(
    rng: np.random.Generator, camera: Camera, label_count: int, count: int
) -> SelectedPoints:
    uv = rng.uniform([0.0, 0.0], [camera.width, camera.height], (count, 2))
    rays, _ = camera.unproject(uv)
    depths = rng.uniform(4.0, 40.0, count)
    in_camera = rays / rays[:, 2:] * depths[:, None]
    return SelectedPoints(
        poses.transform(T_BASE_OPTICAL, in_camera),
        rng.integers(0, label_count, count).astype(np.int32),
        rng.uniform(0.5, 1.0, count),
        depths,
    )


def _poses(rng: np.random.Generator, spatial: bool, count: int) -> Array:
    std = np.array([0.5, 0.5, 0.05, 0.01, 0.01, 0.03])
    if not spatial:
        std[2:5] = 0.0
    return poses.exp(std * rng.standard_normal((count, 6)))


class _Machine:
    """What the machine can do at best."""

    def __init__(
        self,
        rng: np.random.Generator,
        grid: npt.NDArray[np.int32],
        table: npt.NDArray[np.float32],
        work: int,
    ) -> None:
        unlabelled = table.shape[1]
        self._grid = grid.ravel().astype(np.min_scalar_type(unlabelled))
        self._row = np.ascontiguousarray(table[:, 0])
        self._cells = rng.integers(0, grid.size, _CHUNK).astype(np.uint32)
        self._values = rng.uniform(1.0, 2.0, _CHUNK).astype(np.float32)
        self._rounds = -(-work // _CHUNK)

    def reads(self) -> float:
        return read_bound(self._cells, self._grid, self._row, self._rounds)

    def arithmetic(self) -> float:
        return arithmetic_bound(self._values, self._rounds)


_CHUNK = 2048


@numba.njit(parallel=True, fastmath=True)
def read_bound(
    cells: npt.NDArray[np.uint32],
    grid: npt.NDArray[np.unsignedinteger],
    row: npt.NDArray[np.float32],
    rounds: int,
) -> float:
    """Nothing but the reads: label of a cell, evidence of the label."""
    total = np.float32(0)
    for _ in numba.prange(rounds):
        part = np.float32(0)
        for i in range(cells.shape[0]):
            part += row[grid[cells[i]]]
        total += part
    return total


@numba.njit(parallel=True, fastmath=True, error_model="numpy")
def arithmetic_bound(x: npt.NDArray[np.float32], rounds: int) -> float:
    """Nothing but the arithmetic of a projection, on values that lie in a row."""
    total = np.float32(0)
    for r in numba.prange(rounds):
        part = np.float32(0)
        c = np.float32(r)
        for i in range(x.shape[0]):
            a = x[i]
            b, d = a + c, a - c
            inverse = np.float32(1) / max(a * c + b * d + d * c + b, np.float32(1e-3))
            u = (b * c + d * a + a * c + d) * inverse
            v = (d * d + a * a + b * c + a) * inverse
            column = min(np.uint32(np.int32(u)), np.uint32(160))
            row = min(np.uint32(np.int32(v)), np.uint32(120))
            part += (a + b * min(a * inverse, np.float32(2))) * np.float32(row * 162 + column)
        total += part
    return total


def seconds(calls: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Shortest time of each call; they take turns, so that a busy machine slows all alike."""
    best = {name: float("inf") for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            for _ in range(1 if name == "numpy" else 5):
                start = time.perf_counter()
                call()
                best[name] = min(best[name], time.perf_counter() - start)
    return best


if __name__ == "__main__":
    tyro.cli(KernelSpeed, description=__doc__).run()
