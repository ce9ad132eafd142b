"""A camera's label grid with its distortion taken out."""

import numpy as np
import numpy.typing as npt

from fgsn_ros.errors import LocalizationError
from fgsn_ros.geometry import poses
from fgsn_ros.geometry.cameras import Camera
from fgsn_ros.segmentation.labels import LabelMap

Array = npt.NDArray[np.float64]
Grid = npt.NDArray[np.int32]


class PinholeGrid:
    """Label grid of one camera without its distortion: points project as into a pinhole."""

    def __init__(self, camera: Camera, stride: int) -> None:
        self.distorted = camera.at_stride(stride)
        self.camera: Camera = self.distorted.undistorted()
        self._source = self._source_cells() if self.distorted.is_distorted else None

    def labels(self, label_map: LabelMap, label_count: int) -> Grid:
        """Labels (H, W) on the pinhole grid; `label_count` where unlabelled or not in the image.

        Raises:
            LocalizationError: the label map is of another size or of another label set.
        """
        shape = (self.distorted.height, self.distorted.width)
        if label_map.labels.shape != shape or label_map.label_count != label_count:
            raise LocalizationError(
                f"a label map of {label_map.labels.shape} cells and {label_map.label_count} labels "
                f"does not fit the camera's {shape} cells and the map's {label_count} labels"
            )
        labels = np.minimum(label_map.labels, label_count).astype(np.int32)
        if self._source is None:
            return labels
        return np.append(labels.ravel(), np.int32(label_count))[self._source]

    def projections(self, T_map_camera: Array, origin: Array) -> Array:
        """(N, 3, 4) from points relative to `origin` (3,) in the map to homogeneous grid pixels."""
        T_camera_map = poses.invert(T_map_camera)
        T_camera_map[:, :3, 3] += T_camera_map[:, :3, :3] @ origin
        return self.camera.matrix @ T_camera_map[:, :3]

    def _source_cells(self) -> npt.NDArray[np.int64]:
        """Flat cell of the distorted grid under each pinhole cell; one past the end for none."""
        height, width = self.distorted.height, self.distorted.width
        v, u = np.mgrid[0:height, 0:width]
        rays, _ = self.camera.unproject(np.stack([u, v], axis=-1).astype(np.float64))
        pixels, valid = self.distorted.project(rays)
        cells = np.floor(np.where(valid[..., None], pixels, 0.0) + 0.5).astype(np.int64)
        return np.where(valid, cells[..., 1] * width + cells[..., 0], height * width)
