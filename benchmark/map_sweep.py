"""What a map's size costs: opening it, a frame's query, memory and disk, from 1e4 to 1e8 points.

    python benchmark/map_sweep.py

Makes maps of parallel streets with the density of the simulated towns' (176 points and 1.33 key
frames a metre, 200 labels), one after the other, in a stream: 1e8 points are 570 km and 1.6 GB.
Each is opened by a process of its own with the files out of the page cache (posix_fadvise), then
again with them in it; 300 frames at 0.8 m are then driven along a street in the middle. A frame's
query is the choice of 3,000 points and the ground below 2,000 particles.

Beside it, in the same process: what reading the points' whole file takes, as opening did that
checked every value; and reading the bytes of one neighbourhood in a piece, which is the least that
a query from the disk can take.
"""

import os
import tempfile
import time
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import tyro
from scoring import markdown_table, write_results

from fgsn_ros.geometry import poses
from fgsn_ros.geometry.cameras import T_BASE_OPTICAL, Camera
from fgsn_ros.localization.selection import PointSelector, SelectionSettings
from fgsn_ros.mapping.ground import MapGround
from fgsn_ros.mapping.map_files import MapWriter, load_map
from fgsn_ros.mapping.map_records import (
    POINT,
    MapPoints,
    TiledRecords,
    pack,
    tiled_records,
    unpack,
)

TILE_M, STREET_M, APART_M = 10.0, 4000.0, 200.0
PIECE_M, POINTS_PER_M, KEYFRAMES_PER_M, LABELS = 100.0, 176, 1.33, 200
FRAMES, STEP_M, PARTICLES, SELECTED = 300, 0.8, 2000, 3000
NAMES = {
    "open_cold_ms": "open, not cached [ms]",
    "open_warm_ms": "open, cached [ms]",
    "first_frame_ms": "first frame [ms]",
    "median_ms": "a frame [ms]",
    "most_ms": "slowest frame [ms]",
    "resident_mb": "resident [MB]",
    "neighbourhood_ms": "neighbourhood's bytes alone [ms]",
    "whole_file_ms": "whole file's bytes [ms]",
    "bytes_per_point": "bytes a point",
    "mb_per_km": "MB a km",
    "file_mb": "on disk [MB]",
}
NOTE = (
    "Streets with 176 points a metre; a frame is the choice of 3,000 points and the ground below "
    "2,000 particles. Its slowest are those that read new tiles. Bytes a point include key frames."
)
CAMERA = Camera(80, 60, 50.0, 50.0, 39.5, 29.5)


@dataclass(frozen=True)
class Sweep:
    """Measure maps of several sizes."""

    points: tuple[int, ...] = (10_000, 100_000, 1_000_000, 10_000_000, 100_000_000)
    """sizes"""
    folder: Path = Path(tempfile.gettempdir())
    """where the maps are made and removed; on the disk that is to be measured"""
    output: Path = Path("benchmark/results")
    """folder of map_sweep.md and .json"""

    def run(self) -> None:
        """Measure, print and write."""
        rows = {count: self._figures(count) for count in self.points}
        text = f"{markdown_table(line(*row) for row in rows.items())}\n\n{NOTE}"
        print(text)
        write_results(self.output, "map_sweep", text, rows)

    def _figures(self, count: int) -> dict[str, float]:
        with tempfile.TemporaryDirectory(prefix="map_sweep-", dir=self.folder) as folder:
            start = time.perf_counter()
            write_map(Path(folder), count)
            made_s = time.perf_counter() - start
            with get_context("spawn").Pool(1) as pool:
                figures = pool.apply(measured, (Path(folder),)) | {"made_s": made_s}
                pool.close()
                pool.join()
        return figures


def piece(rng: np.random.Generator) -> TiledRecords:
    """A hundred metres of street: points on the ground and on the fronts of houses."""
    count = int(PIECE_M * POINTS_PER_M)
    x, on_wall = rng.uniform(0.0, PIECE_M, count), rng.random(count) < 0.6
    y = np.where(on_wall, rng.choice([-9.0, 9.0], count), rng.uniform(-9.0, 9.0, count))
    z = np.where(on_wall, rng.uniform(0.0, 8.0, count), 0.0)
    seen_from = np.stack([x - 10.0, np.zeros(count), np.full(count, 1.5)], axis=1)
    sight = np.stack([x, y, z], axis=1) - seen_from
    near = rng.uniform(3.0, 12.0, count)
    points = MapPoints(
        np.stack([x, y, z], axis=1),
        rng.integers(0, LABELS, count).astype(np.uint16),
        rng.uniform(0.3, 1.0, count),
        sight / np.linalg.norm(sight, axis=1, keepdims=True),
        near,
        near * rng.uniform(1.5, 4.0, count),
    )
    stations = np.arange(0.0, PIECE_M, 1.0 / KEYFRAMES_PER_M)
    shares = rng.dirichlet(np.full(LABELS, 0.1), len(stations))
    return tiled_records(points, poses.from_planar(stations, 0.0, 0.0), shares, TILE_M)


def write_map(folder: Path, count: int) -> None:
    """Streets side by side, of one piece over and over: only the tiles' places differ."""
    one = piece(np.random.default_rng(0))
    writer = MapWriter(folder, LABELS, "0" * 64, TILE_M)
    for number in range(max(1, round(count / len(one.points)))):
        row, column = divmod(number * PIECE_M, STREET_M)
        offset = np.array([column, row * APART_M])
        keyframes = one.keyframes.copy()
        keyframes["position"][:, :2] += offset
        tiles = unpack(one.keys) + np.rint(offset / TILE_M).astype(np.int64)
        writer.add(TiledRecords(pack(tiles), one.table, one.points, keyframes))
    writer.close()


def out_of_cache(folder: Path) -> None:
    for path in folder.iterdir():
        with path.open("r+b") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def resident_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def measured(folder: Path) -> dict[str, float]:
    """Figures of one map, in this process alone."""
    load_map(folder).points_near(np.zeros(3), 10.0)  # what is imported and compiled at first use
    out_of_cache(folder)
    before_mb = resident_mb()
    opened = {}
    for state in ("cold", "warm"):
        start = time.perf_counter()
        semantic_map = load_map(folder)
        selector, ground = PointSelector(semantic_map, SelectionSettings()), MapGround(semantic_map)
        opened[f"open_{state}_ms"] = 1e3 * (time.perf_counter() - start)
    figures = opened | driven(selector, ground, len(semantic_map))
    figures["resident_mb"] = resident_mb() - before_mb
    return figures | references(folder) | sizes(folder, len(semantic_map))


def driven(selector: PointSelector, ground: MapGround, count: int) -> dict[str, float]:
    """Times of the query of each frame along a street, and the first, whose tiles are not read."""
    length_m = count / POINTS_PER_M
    y = np.floor(0.5 * length_m / STREET_M) * APART_M
    rng = np.random.default_rng(1)
    covariance = np.diag(np.square([0.3, 0.3, 0.05, 0.01, 0.01, 0.02]))
    seconds, chosen = [], []
    for x in STEP_M * np.arange(FRAMES) % min(length_m, STREET_M):
        spread = rng.normal(0.0, (0.3, 0.3, 0.02), (PARTICLES, 3))
        start = time.perf_counter()
        T_map_base = ground.poses(np.array([x, y, 0.0]) + spread)
        T_map_camera = T_map_base[0] @ poses.from_xyz_rpy([0, 0, 1.5], [0, 0, 0]) @ T_BASE_OPTICAL
        chosen.append(len(selector.select(T_map_camera, covariance, CAMERA, SELECTED, rng)))
        seconds.append(time.perf_counter() - start)
    times = 1e3 * np.array(seconds)
    return {
        "first_frame_ms": times[0],
        "median_ms": float(np.median(times[1:])),
        "mean_ms": float(times[1:].mean()),
        "most_ms": times[1:].max(),
        "points_chosen": float(np.mean(chosen)),
    }


def references(folder: Path) -> dict[str, float]:
    path = folder / "points.npy"
    start = time.perf_counter()
    with path.open("rb", buffering=0) as file:
        buffer = bytearray(1 << 24)
        while file.readinto(buffer):
            pass
    whole_s = time.perf_counter() - start
    near = int(2 * 85.0 * POINTS_PER_M) * POINT.itemsize
    start = time.perf_counter()
    with path.open("rb", buffering=0) as file:
        file.read(near)
    return {"whole_file_ms": 1e3 * whole_s, "neighbourhood_ms": 1e3 * (time.perf_counter() - start)}


def sizes(folder: Path, count: int) -> dict[str, float]:
    total = sum(path.stat().st_size for path in folder.iterdir())
    return {
        "bytes_per_point": total / count,
        "mb_per_km": total / count * POINTS_PER_M / 1e3,
        "file_mb": total / 1e6,
    }


def line(count: int, figures: dict[str, float]) -> dict[str, str]:
    """A row of the table."""
    return {"points": f"{count:.0e}"} | {name: f"{figures[key]:.3g}" for key, name in NAMES.items()}


if __name__ == "__main__":
    tyro.cli(Sweep, description=__doc__).run()
