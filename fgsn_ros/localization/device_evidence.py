"""One frame's labels and chosen points on a GPU, laid out for its kernel."""

from typing import Any

import numpy as np
import numpy.typing as npt

from fgsn_ros.geometry.arrays import Array
from fgsn_ros.localization.pinhole_grid import Grid
from fgsn_ros.localization.selection import SelectedPoints


class DeviceRatios:
    """Log-ratios (K + 1, K) [observed, map], kept on the device once they were asked for there."""

    def __init__(self, log_ratio: npt.NDArray[np.float32]) -> None:
        self.log_ratio = log_ratio
        self._moved: Any = None

    def on(self, device: Any) -> Any:
        """(K, K + 1) [map, observed]: a point's row is in one piece."""
        import torch

        if self._moved is None or self._moved.device != device:
            self._moved = torch.from_numpy(np.ascontiguousarray(self.log_ratio.T)).to(device)
        return self._moved


class DeviceEvidence:
    """As `kernel.Evidence`, for poses (N, 4, 4) that are tensors on a GPU."""

    def __init__(
        self,
        selected: SelectedPoints,
        origin: Array,
        size_share: float,
        ratios: DeviceRatios,
        grid: Grid,
        base_to_grid: Array,
        device: Any,
    ) -> None:
        """Send one frame to a device.

        Args:
            selected: Points, in the map.
            origin: (3,) in the map; points are sent relative to it.
            size_share: How much evidence grows with size, [0, 1].
            ratios: Log-ratios of the labels.
            grid: (H, W) observed labels, K where unlabelled.
            base_to_grid: (3, 4) from the robot's base to homogeneous grid pixels (u z, v z, z).
            device: The tensors' device.
        """
        import torch

        order = np.argsort(selected.labels, kind="stable")  # a row of ratios serves many points
        origin = origin.astype(np.float32)  # as it is sent: nothing is lost between them
        points = np.empty((len(selected), 6), np.float32)
        points[:, :3] = selected.points[order] - origin
        points[:, 3] = selected.depths[order]
        points[:, 4:] = np.outer(selected.weights[order], [1.0 - size_share, size_share])
        label_count = ratios.log_ratio.shape[1]
        rows = selected.labels[order].astype(np.int32) * np.int32(label_count + 1)
        rounding = base_to_grid.copy()
        rounding[:2] += 1.5 * base_to_grid[2]  # truncating rounds, one cell further for the border
        camera = np.append(rounding.ravel(), origin).astype(np.float32)
        cells = np.pad(grid, 1, constant_values=label_count)
        cells = cells.astype(np.uint8 if label_count < 256 else np.int32)
        sent = (camera, points, rows, cells)
        self._camera, self._points, self._rows, self._grid = (
            torch.from_numpy(values).to(device) for values in sent
        )
        self._ratios = ratios.on(device)

    def scores(self, T_map_base: Any, block: int | None = None) -> Any:
        """Scores (N,), float32, of poses (N, 4, 4) on the device; `block` as in `gpu_kernel`."""
        from fgsn_ros.localization import gpu_kernel  # only where there is a GPU there is Triton

        return gpu_kernel.scores(
            T_map_base, self._camera, self._points, self._rows, self._ratios, self._grid, block
        )
