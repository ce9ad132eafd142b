"""Scores of the GPU's kernel, interpreted (TRITON_INTERPRET=1), and of NumPy, to an .npz file."""

import sys

import numpy as np
import torch

from fgsn_ros.geometry import poses
from fgsn_ros.geometry.arrays import is_tensor
from fgsn_ros.geometry.cameras import Camera
from fgsn_ros.localization import measurement
from fgsn_ros.localization.kernel import score_particles_numpy
from fgsn_ros.localization.measurement import EvidenceTable, PinholeGrid
from fgsn_ros.localization.selection import SelectedPoints

PARTICLES, POINTS, SHARE, OUTLIERS = 37, 60, 0.4, 0.2
CAMERA = Camera(320, 240, 250.0, 240.0, 161.3, 118.2)
T_BASE_CAMERA = poses.exp([0.3, 0.1, 1.2, -1.2, 1.2, -1.2])
CENTRE = poses.exp([900.0, -700.0, 3.0, 0.02, -0.01, 2.5])


def problem(label_count):
    """Poses around one of which the points fill the image, a kilometre from the map's origin."""
    rng = np.random.default_rng(label_count)
    spread = np.repeat([1.0, 0.1], 3) * rng.normal(size=(PARTICLES, 6))
    T_map_base = poses.compose(CENTRE, poses.exp(spread))
    in_camera = rng.uniform([-8.0, -6.0, 2.0], [8.0, 6.0, 20.0], (POINTS, 3))
    selected = SelectedPoints(
        poses.transform(poses.compose(CENTRE, T_BASE_CAMERA), in_camera),
        rng.integers(0, label_count, POINTS).astype(np.int32),
        rng.uniform(0.1, 1.0, POINTS),
        in_camera[:, 2],
    )
    table = EvidenceTable(rng.normal(size=(label_count, label_count)), OUTLIERS)
    grid = rng.integers(0, label_count + 1, (30, 40)).astype(np.int32)
    return T_map_base, selected, table, grid


def scores(label_count):
    """(N,) of the kernel and of NumPy, without points near a cell's border: they may round over."""
    T_map_base, selected, table, grid = problem(label_count)
    pinhole = PinholeGrid(CAMERA, 8)
    projections = pinhole.projections(poses.compose(T_map_base, T_BASE_CAMERA), np.zeros(3))
    kept = away_from_borders(projections, selected.points)
    assert kept.sum() > POINTS / 3
    selected = SelectedPoints(
        *(part[kept] for part in (selected.points, selected.labels)),
        *(part[kept] for part in (selected.weights, selected.depths)),
    )
    frame = measurement.FrameLikelihood(
        pinhole, T_BASE_CAMERA, grid, selected, table, SHARE, power=1.0
    )
    found = frame(torch.from_numpy(T_map_base).float())
    plain = score_particles_numpy(
        projections,
        selected.points,
        selected.labels,
        selected.weights,
        selected.depths,
        SHARE,
        table.values,
        grid,
    )
    return found.numpy(), plain


def away_from_borders(projections, points):
    """Points that no particle projects within 0.002 cells of a border, or near its own plane."""
    homogeneous = projections[:, :, :3] @ points.T + projections[:, :, 3:]
    uv = homogeneous[:, :2] / homogeneous[:, 2:]
    near = np.abs(uv - np.floor(uv) - 0.5) < 0.002
    return ~(near.any(axis=(0, 1)) | (np.abs(homogeneous[:, 2]) < 0.05).any(axis=0))


def main():
    measurement.on_gpu = is_tensor  # the interpreter's device is the CPU
    results = {}
    for label_count in (20, 300):
        found, plain = scores(label_count)
        results |= {f"found_{label_count}": found, f"plain_{label_count}": plain}
    np.savez(sys.argv[1], **results)


if __name__ == "__main__":
    main()
