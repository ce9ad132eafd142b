"""The GPU's measurement kernel alone, beside what the device could do at best (particle_sweep.py).

A projection of a point for a particle takes, at the least, 28 instructions: 9 multiply-adds for
(u, v, z), 3 for reciprocal and quotients, 5 to stay within depth and image, 2 conversions to whole
cells, 1 for the cell's number, 2 addresses and 2 reads (label, evidence), 4 for size, weight and
sum. A multiprocessor issues 4 instructions for 32 lanes each clock. So the limit is

    multiprocessors x clock x 128 / 28   projections a second.

The device's memory is no limit: 64 bytes of pose and 4 of score pass through it per particle, and
28 per point, all together 68 / points bytes a projection; labels and evidence stay in the caches.
"""

import numpy as np
import torch

from fgsn_ros.geometry import poses
from fgsn_ros.geometry.cameras import T_BASE_OPTICAL, Camera
from fgsn_ros.localization.gpu_kernel import DeviceEvidence
from fgsn_ros.localization.measurement import EvidenceTable, FrameLikelihood, PinholeGrid
from fgsn_ros.localization.selection import SelectedPoints

LABELS, STRIDE = 200, 4
INSTRUCTIONS, LANES_A_CLOCK = 28, 128
COMPARED = 2000
"""Particles whose scores are compared with the CPU's."""


def gpu_rows(sizes: list[int], points: int) -> list[dict[str, str]]:
    """A line for each number of particles and block of the kernel."""
    from fgsn_ros.localization import gpu_kernel

    likelihood = frame(points)
    blocks = (gpu_kernel.SMALL_BLOCK, 256, gpu_kernel.BLOCK)
    return [_row(likelihood, size, block) for size in sizes for block in blocks]


def gpu_text() -> str:
    """What the device is, and the limit that follows."""
    device = torch.cuda.get_device_properties(0)
    passed = "64 + 4 bytes a particle and 28 a point pass through the device's memory"
    return (
        f"{device.name}: {device.multi_processor_count} multiprocessors at "
        f"{1e-6 * device.clock_rate:.2f} GHz, {device.total_memory / 2**30:.0f} GiB, memory at "
        f"{memory_bytes_per_second() * 1e-12:.2f} TB/s, L2 cache of "
        f"{device.L2_cache_size / 2**20:.0f} MiB. Limit: {device.multi_processor_count} x "
        f"{1e-6 * device.clock_rate:.2f} GHz x {LANES_A_CLOCK} lanes / {INSTRUCTIONS} instructions "
        f"= {1e-9 * projections_per_second():.0f}e9 projections/s; {passed}. {LABELS} labels; "
        f"difference: the largest from the CPU's scores, of the largest score."
    )


def projections_per_second() -> float:
    """What the device could do at best."""
    device = torch.cuda.get_device_properties(0)
    clock_hz = 1e3 * device.clock_rate
    return device.multi_processor_count * clock_hz * LANES_A_CLOCK / INSTRUCTIONS


def memory_bytes_per_second() -> float:
    """Of the device's memory, at two transfers a clock."""
    device = torch.cuda.get_device_properties(0)
    return 2.0 * 1e3 * device.memory_clock_rate * device.memory_bus_width / 8.0


def frame(points: int) -> FrameLikelihood:
    """Points that fill the image of a camera 1.5 m above the base, near and far."""
    rng = np.random.default_rng(0)
    camera = Camera(640, 480, 512.0, 512.0, 319.5, 239.5)
    pinhole = PinholeGrid(camera, STRIDE)
    uv = rng.uniform(0.0, [pinhole.camera.width, pinhole.camera.height], (points, 2))
    depths = rng.uniform(4.0, 40.0, points)
    rays, _ = pinhole.camera.unproject(uv)
    in_camera = rays / rays[:, 2:] * depths[:, None]
    selected = SelectedPoints(
        poses.transform(T_BASE_OPTICAL, in_camera),
        rng.integers(0, LABELS, points).astype(np.int32),
        rng.uniform(0.5, 1.0, points),
        depths,
    )
    table = EvidenceTable(rng.normal(size=(LABELS, LABELS)), outlier_share=0.35)
    shape = (pinhole.camera.height, pinhole.camera.width)
    grid = rng.integers(0, LABELS, shape).astype(np.int32)
    return FrameLikelihood(pinhole, T_BASE_OPTICAL, grid, selected, table, 0.3, 1.0)


def spread_poses(count: int) -> np.ndarray:
    """Poses (N, 4, 4) some decimetres and degrees apart."""
    rng = np.random.default_rng(1)
    return poses.exp(rng.normal(size=(count, 6)) * np.repeat([0.3, 0.03], 3))


def seconds(evidence: DeviceEvidence, T_map_base: torch.Tensor, block: int) -> float:
    """Shortest time of a call."""
    evidence.scores(T_map_base, block)
    best = float("inf")
    for _ in range(10):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        evidence.scores(T_map_base, block)
        end.record()
        torch.cuda.synchronize()
        best = min(best, 1e-3 * start.elapsed_time(end))
    return best


def _row(likelihood: FrameLikelihood, particles: int, block: int) -> dict[str, str]:
    T_map_base = spread_poses(particles)
    sent = torch.from_numpy(T_map_base).float().cuda()
    evidence = likelihood.sent_to(sent.device)
    took = seconds(evidence, sent, block)
    compared = likelihood(T_map_base[:COMPARED])
    found = evidence.scores(sent[:COMPARED], block).cpu().numpy()
    speed = particles * len(likelihood.selected) / took
    return {
        "particles": f"{particles:,}",
        "block": str(block),
        "kernel [ms]": f"{1e3 * took:.3f}",
        "[1e9 projections/s]": f"{1e-9 * speed:.1f}",
        "share of the limit": f"{speed / projections_per_second():.0%}",
        "difference": f"{np.abs(found - compared).max() / np.abs(compared).max():.0e}",
    }
