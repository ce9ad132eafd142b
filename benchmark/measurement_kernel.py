"""Speed of the compiled measurement kernel against the NumPy reference, and against the machine.

    python benchmark/measurement_kernel.py

Prints times, ns per projection of a point for a particle, their ratio in the same run, and two
bounds of the machine: its memory ports (each projection reads a cell index, a label and a table
entry, wherever they are) and its arithmetic (the projection alone).
"""

import json
import time
from collections.abc import Callable

import numba
import numpy as np
import numpy.typing as npt

from fgsn_ros.localization import kernel

PARTICLES, POINTS, LABELS, HEIGHT, WIDTH = 2000, 5000, 200, 60, 80


def seconds(calls: dict[str, Callable[[], object]], rounds: int = 5) -> dict[str, float]:
    """Shortest time of each call; they take turns, so that a busy machine slows all alike."""
    best = {name: float("inf") for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            for _ in range(1 if name.startswith("numpy") else 5):
                start = time.perf_counter()
                call()
                best[name] = min(best[name], time.perf_counter() - start)
    return best


def problem(rng: np.random.Generator) -> tuple[npt.NDArray[np.float64], tuple[npt.NDArray, ...]]:
    """Particles around a camera that sees the points, a metre and some degrees apart."""
    angles = rng.normal(0.0, 0.03, PARTICLES)
    T = np.zeros((PARTICLES, 3, 4))
    T[:, 0, 0] = T[:, 2, 2] = np.cos(angles)
    T[:, 0, 2], T[:, 2, 0], T[:, 1, 1] = np.sin(angles), -np.sin(angles), 1.0
    T[:, [0, 2], 3] = rng.normal(0.0, 0.5, (PARTICLES, 2))
    matrix = np.array([[64.0, 0.0, 39.5], [0.0, 64.0, 29.5], [0.0, 0.0, 1.0]])
    depth = rng.uniform(4.0, 40.0, POINTS)
    uv = rng.uniform([0.0, 0.0], [WIDTH, HEIGHT], (POINTS, 2))
    rays = np.column_stack([(uv - [39.5, 29.5]) / 64.0, np.ones(POINTS)])
    labels = rng.integers(0, LABELS, POINTS).astype(np.int32)
    log_ratio = np.vstack([rng.normal(size=(LABELS, LABELS)), np.zeros(LABELS)])
    grid = rng.integers(0, LABELS, (HEIGHT, WIDTH)).astype(np.int32)
    weights = rng.uniform(0.5, 1.0, POINTS)
    arguments = rays * depth[:, None], labels, weights, depth, 0.4, log_ratio, grid
    return matrix @ T, arguments


@numba.njit(parallel=True, fastmath=True)
def read_bound(
    cells: npt.NDArray[np.uint32],
    grid: npt.NDArray[np.uint8],
    table: npt.NDArray[np.float32],
    rounds: int,
) -> float:
    """Nothing but the reads of the kernel, from the L1 cache."""
    total = np.float32(0)
    for _ in numba.prange(rounds):
        part = np.float32(0)
        for i in range(cells.shape[0]):
            part += table[grid[cells[i]]]
        total += part
    return total


@numba.njit(parallel=True, fastmath=True, error_model="numpy")
def arithmetic_bound(x: npt.NDArray[np.float32], rounds: int) -> float:
    """Nothing but the arithmetic of the kernel: 18 operations and a division, on registers."""
    total = np.float32(0)
    for r in numba.prange(rounds):
        part = np.float32(0)
        c = np.float32(r)
        for i in range(x.shape[0]):
            a = x[i]
            d = np.float32(1) / (a * c + a * a + (a + c))
            u = min(max((a * a + a * c + c) * d, np.float32(0)), c)
            v = min(max((a * c + c * a + a) * d, np.float32(0)), c)
            part += np.floor(v) * c + u
        total += part
    return total


def main() -> None:
    rng = np.random.default_rng(0)
    projections, arguments = problem(rng)
    single = tuple(
        a.astype(np.float32) if a.dtype == np.float64 else a for a in map(np.asarray, arguments)
    )
    evidence = kernel.Evidence(*arguments)
    compiled_scores = evidence.scores(projections)
    plain_scores = kernel.score_particles_numpy(projections, *arguments)
    agreement = float(np.corrcoef(compiled_scores, plain_scores)[0, 1])
    cells = rng.integers(0, 4000, 4096).astype(np.uint32)
    grid = rng.integers(0, LABELS, 4000).astype(np.uint8)
    table = rng.normal(size=LABELS).astype(np.float32)
    values = rng.uniform(1.0, 2.0, 4096).astype(np.float32)
    work = PARTICLES * POINTS
    rounds = -(-work // 4096)
    read_bound(cells, grid, table, 1)
    arithmetic_bound(values, 1)
    times = seconds(
        {
            "numpy": lambda: kernel.score_particles_numpy(projections, *arguments),
            "numpy_float32": lambda: kernel.score_particles_numpy(
                projections.astype(np.float32), *single
            ),
            "compiled": lambda: evidence.scores(projections),
            "compiled_with_layout": lambda: kernel.Evidence(*arguments).scores(projections),
            "bound_reads": lambda: read_bound(cells, grid, table, rounds),
            "bound_arithmetic": lambda: arithmetic_bound(values, rounds),
        }
    )
    report = {
        "particles": PARTICLES,
        "points": POINTS,
        "threads": numba.get_num_threads(),
        "correlation_with_numpy": round(agreement, 6),
        "milliseconds": {name: round(1e3 * value, 2) for name, value in times.items()},
        "ns_per_projection": {name: round(1e9 * t / work, 3) for name, t in times.items()},
        "speedup": round(times["numpy"] / times["compiled_with_layout"], 1),
        "speedup_over_float32": round(times["numpy_float32"] / times["compiled_with_layout"], 1),
    }
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
