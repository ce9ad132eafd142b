"""The filter with 1,000 to 1,000,000 particles: time of each step, memory, error.

    python benchmark/particle_sweep.py

The street of synthetic_street.py; SE(3) particles, 1,000 points a frame. Each line is a process
of its own, on the CPU and, where there is one, on the GPU. `weigh` is the likelihood of all layers
with the resampling between them, `resample` the one that ends the frame. The first frames, in which
the particles find together, are not counted.

Where there is a GPU a second table has its kernel alone, beside what the device could do at best,
and the difference from the CPU's scores.
"""

import multiprocessing
import resource
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numba
import numpy as np
import synthetic_street
import torch
import tyro
from gpu_kernel_speed import gpu_rows, gpu_text
from scoring import markdown_table, write_results

from fgsn_ros.localization.localizer import LocalizerSettings
from fgsn_ros.localization.measurement import MeasurementSettings

SIZES = (1_000, 3_000, 10_000, 30_000, 100_000, 300_000, 1_000_000)
WARM_UP = 3
MANY = 100_000
"""From so many particles on, few frames are counted."""
STEPS = ("propagate", "select", "weigh", "resample", "estimate")
Device = Literal["cpu", "cuda"]


@dataclass(frozen=True)
class ParticleSweep:
    """Measure the filter over the number of particles."""

    most: int = 1_000_000
    """most particles"""
    points: int = 1000
    """map points a frame"""
    model: Literal["planar", "spatial"] = "spatial"
    """motion model"""
    output: Path = Path("benchmark/results")
    """folder of particle_sweep.md and .json"""

    def run(self) -> None:
        """Measure, print and write."""
        devices: list[Device] = ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]
        sizes = [size for size in SIZES if size <= self.most]
        rows = [self._row(device, particles) for device in devices for particles in sizes]
        text = f"{markdown_table(rows)}\n\n{self._text()}"
        if "cuda" in devices:
            kernel = gpu_rows(sizes, self.points)
            text += f"\n\n{markdown_table(kernel)}\n\n{gpu_text()}"
            rows += kernel
        print(text)
        write_results(self.output, "particle_sweep", text, rows)

    def _row(self, device: Device, particles: int) -> dict[str, str]:
        settings = LocalizerSettings(
            model=self.model,
            device=device,
            min_particles=particles,
            max_particles=particles,
            measurement=MeasurementSettings(points=self.points),
        )
        # A process of its own: the peak of its memory is this line's.
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            run = pool.apply(localized, (settings,))
        print(f"{device} {particles}: {1e3 * run.seconds:.0f} ms a frame", flush=True)
        milliseconds = {f"{step} [ms]": _figures(1e3 * run.seconds_by_step[step]) for step in STEPS}
        return {
            "device": device,
            "particles": f"{particles:,}",
            **milliseconds,
            "frame [ms]": _figures(1e3 * run.seconds),
            "frames/s": _figures(1.0 / run.seconds),
            "layers": f"{run.layers:.1f}",
            "[1e9 projections/s]": f"{1e-9 * run.projections / run.seconds_by_step['weigh']:.2f}",
            "memory [MB]": _figures(1e-6 * run.memory_bytes),
            "error [m]": f"{run.error_m:.3f}",
        }

    def _text(self) -> str:
        return (
            f"{self.model} model, {self.points} points a frame, {numba.get_num_threads()} threads "
            f"on the CPU; means over {_frames(1)} frames, from {MANY:,} particles on over "
            f"{_frames(MANY)}. Error: root mean square of the position's. Projections: of a point "
            "for a particle, over the whole time of `weigh`. "
            "Memory: peak above that of the process before the particles. While tracking, the "
            "history of late labels adds to it, per particle and frame of the last "
            "`odometry_memory_s`, 136 bytes on the CPU and 32 on a GPU."
        )


@dataclass(frozen=True)
class Run:
    """Means over the frames of a run."""

    seconds: float
    seconds_by_step: dict[str, float]
    layers: float
    projections: float
    memory_bytes: float
    error_m: float


def localized(settings: LocalizerSettings) -> Run:
    """The first frames of the drive, in this process."""
    frames = _frames(settings.min_particles)
    drive = synthetic_street.drive(WARM_UP + frames)
    before = _memory_bytes(settings.device)
    localizer = drive.localizer(settings)
    seconds, errors, layers, projections = [], [], [], []
    for index, (T, label_map) in enumerate(zip(drive.truth, drive.label_maps, strict=True)):
        if index == WARM_UP:
            localizer.seconds.clear()
        start = time.perf_counter()
        localizer.add_odometry(0.1 * index, T)
        estimate = localizer.add_labels(0.1 * index, "camera", label_map)
        assert estimate is not None
        seconds.append(time.perf_counter() - start)
        errors.append(np.linalg.norm(estimate.T_map_base[:3, 3] - T[:3, 3]))
        layers.append(estimate.layers)
        projections.append(settings.min_particles * estimate.selected_points * estimate.layers)
    return Run(
        float(np.mean(seconds[WARM_UP:])),
        {step: localizer.seconds[step] / frames for step in STEPS},
        float(np.mean(layers[WARM_UP:])),
        float(np.mean(projections[WARM_UP:])),
        _memory_bytes(settings.device) - before,
        float(np.sqrt(np.mean(np.square(errors[WARM_UP:])))),
    )


def _frames(particles: int) -> int:
    return 10 if particles < MANY else 3


def _memory_bytes(device: str) -> float:
    if device == "cuda":
        return torch.cuda.max_memory_allocated()
    return 1024.0 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _figures(value: float) -> str:
    """Three significant figures at least."""
    return f"{value:,.0f}" if value >= 100.0 else f"{value:.3g}"


if __name__ == "__main__":
    tyro.cli(ParticleSweep, description=__doc__).run()
