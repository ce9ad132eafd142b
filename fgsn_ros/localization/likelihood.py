"""Log-likelihood of poses: labels seen at projected map points against the points' labels."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from fgsn_ros.geometry import poses
from fgsn_ros.geometry.arrays import Array, doubles, host, on_gpu
from fgsn_ros.localization import kernel
from fgsn_ros.localization.device_evidence import DeviceEvidence, DeviceRatios
from fgsn_ros.localization.pinhole_grid import Grid, PinholeGrid
from fgsn_ros.localization.selection import SelectedPoints


@dataclass(frozen=True)
class Match:
    """How the labels of one frame fit the map at one pose."""

    visible_points: int
    """Points on labelled cells."""
    score: float
    """Their mean log-ratio [nat]: above 0 the labels speak for the pose."""
    quality: float
    """Score on a scale from 0, labels scattered at random over this image, to 1, labels that agree
    as they did on the correspondences that the statistics were counted on; not clipped. NaN
    without visible points."""


class FrameLikelihood:
    """Log-likelihood of base poses given one frame's labels and the points chosen for it."""

    def __init__(
        self,
        pinhole: PinholeGrid,
        T_base_camera: Array,
        grid: Grid,
        selected: SelectedPoints,
        statistics: npt.NDArray[np.floating],
        ratios: DeviceRatios,
        size_share: float,
        power: float,
        threads: int = 0,
    ) -> None:
        """`ratios`: `robust_log_ratio` of the statistics; `power` (beta) scales the sum."""
        self.power = power
        self.selected = selected
        self._pinhole = pinhole
        self._T_base_camera = T_base_camera
        self._grid = grid
        self._statistics = statistics
        self._ratios = ratios
        self._log_ratio = ratios.log_ratio
        self._size_share = size_share
        self._threads = threads
        # Relative to a point nearby, float32 resolves micrometres anywhere on the map.
        self._origin = selected.points.mean(axis=0) if len(selected) else np.zeros(3)
        self._points = (selected.points - self._origin).astype(np.float32)
        self._sent: DeviceEvidence | None = None

    def __call__(self, T_map_base: Array) -> Array:
        """(N,) log-likelihoods of poses (N, 4, 4), up to a constant, beside the poses."""
        if on_gpu(T_map_base):
            scores = self.sent_to(T_map_base.device).scores(T_map_base)
        else:
            scores = self._evidence.scores(self._projections(host(T_map_base)))
        return self.power * doubles(scores, T_map_base)

    @cached_property
    def _evidence(self) -> kernel.Evidence:
        selected = self.selected
        return kernel.Evidence(
            self._points,
            selected.labels,
            selected.weights.astype(np.float32),
            selected.depths,
            self._size_share,
            self._log_ratio,
            self._grid,
            self._threads,
        )

    def sent_to(self, device: Any) -> DeviceEvidence:
        """The evidence on a device, where it stays."""
        if self._sent is None:
            T_camera_base = poses.invert(self._T_base_camera)
            base_to_grid = self._pinhole.camera.matrix @ T_camera_base[:3]
            self._sent = DeviceEvidence(
                self.selected,
                self._origin,
                self._size_share,
                self._ratios,
                self._grid,
                base_to_grid,
                device,
            )
        return self._sent

    def match(self, T_map_base: Array) -> Match:
        """How the labels fit at one pose (4, 4)."""
        projection = self._projections(T_map_base[None])[0]
        homogeneous = projection[:, :3] @ self._points.T + projection[:, 3:]
        cells, inside = kernel.project_to_cells(homogeneous, self._grid.shape)
        observed = self._grid.ravel()[np.where(inside, cells, 0)]
        seen = inside & (observed < self._log_ratio.shape[1])
        if not seen.any():
            return Match(0, 0.0, float("nan"))
        labels = self.selected.labels[seen]
        score = float(self._log_ratio[observed[seen], labels].mean())
        chance, expected = self._score_range(labels)
        quality = (score - chance) / max(expected - chance, 1e-6)
        return Match(int(seen.sum()), score, quality)

    def _projections(self, T_map_base: Array) -> Array:
        T_map_camera = poses.compose(T_map_base, self._T_base_camera)
        return self._pinhole.projections(T_map_camera, self._origin)

    def _score_range(self, labels: npt.NDArray[np.int32]) -> tuple[float, float]:
        """Mean log-ratio of points (M,) expected by chance, and if the pose is right.

        By chance a point of map label m meets the labels o of this image as often as they occur in
        it, h(o); else as often as h(o) exp(statistics(o, m)), normalised.
        """
        label_count = self._log_ratio.shape[1]
        occurs = np.bincount(self._grid.ravel(), minlength=label_count + 1)[:label_count]
        points = np.bincount(labels, minlength=label_count)
        present = np.flatnonzero(points)
        ratios = self._log_ratio[:-1, present].astype(np.float64)
        chances = occurs / occurs.sum() @ ratios
        likely = occurs[:, None] * np.exp(self._statistics[:, present].astype(np.float64))
        rights = (likely * ratios).sum(axis=0) / likely.sum(axis=0)
        share = points[present] / len(labels)
        return float(share @ chances), float(share @ rights)
