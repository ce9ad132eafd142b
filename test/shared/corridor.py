"""A corridor of textured walls, rendered exactly, and a segmenter that labels its walls."""

from types import SimpleNamespace

import cv2
import numpy as np

from fgsn_ros.geometry import poses
from fgsn_ros.geometry.cameras import Camera, CameraMount
from fgsn_ros.geometry.trajectory import Trajectory
from fgsn_ros.recordings.recording import Frame
from fgsn_ros.segmentation.labels import UNLABELLED, LabelMap

SURFACES = {  # a point on it, its normal, its tint
    "road": ((0.0, 0.0, 0.0), (0.0, 0.0, 1.0), (1.0, 0.6, 0.6)),
    "left": ((0.0, 5.0, 0.0), (0.0, -1.0, 0.0), (0.6, 1.0, 0.6)),
    "right": ((0.0, -4.0, 0.0), (0.0, 1.0, 0.0), (0.6, 0.6, 1.0)),
    "end": ((30.0, 0.0, 0.0), (-1.0, 0.0, 0.0), (1.0, 1.0, 0.6)),
}
TEXEL_M = 0.05


class Corridor:
    """A recording of a drive between textured walls, rendered exactly; each surface has a tint."""

    name = "corridor"
    odometry = None
    odometry_origin = ""

    def __init__(self, frames=16, step_m=0.6, blank=False):
        rng = np.random.default_rng(5)
        noise = cv2.resize(rng.random((256, 256), np.float32), (1024, 1024))
        self._texture = 70.0 + 185.0 * noise
        T_base_camera = np.eye(4)
        T_base_camera[:3, :3] = [[0, 0, 1], [-1, 0, 0], [0, -1, 0]]
        T_base_camera[:3, 3] = [0.4, 0.1, 1.5]
        camera = Camera(320, 200, 190.0, 190.0, 158.0, 97.0)
        self.mount = CameraMount(camera, T_base_camera, "camera_optical")
        self.cameras = {"camera": self.mount}
        s = step_m * np.arange(frames)
        rpy = np.c_[0.005 * np.sin(s), 0.005 * np.cos(s), 0.04 * np.sin(s / 3.0)]
        T = poses.from_xyz_rpy(np.c_[s, 0.3 * np.sin(s / 4.0), np.zeros(frames)], rpy)
        self.ground_truth = Trajectory(100.0 + 0.1 * np.arange(frames), T)
        self.frame_count = frames
        self._blank = blank

    def frames(self):
        for stamp, T in zip(self.ground_truth.stamps, self.ground_truth.poses, strict=True):
            image = np.zeros((200, 320, 3), np.uint8) if self._blank else self.render(T)[0]
            yield Frame(float(stamp), "camera", image)

    def render(self, T_map_base):
        """RGB image, and depth (H, W) along the optical axis."""
        mount = self.mount
        T = T_map_base @ mount.T_base_camera
        v, u = np.mgrid[:200, :320].astype(np.float64)
        rays, _ = mount.camera.unproject(np.stack([u, v], axis=-1))
        rays = rays @ T[:3, :3].T
        depth = np.full(u.shape, np.inf)
        image = np.zeros((*u.shape, 3))
        for point, normal, tint in SURFACES.values():
            with np.errstate(divide="ignore"):
                hit = ((point - T[:3, 3]) @ normal) / (rays @ np.array(normal))
            nearer = (hit > 0.0) & (hit < depth)
            depth[nearer] = hit[nearer]
            position = T[:3, 3] + rays * np.where(nearer, hit, 0.0)[..., None]
            along = [axis for axis in range(3) if normal[axis] == 0.0]
            s, t = np.moveaxis(position[..., along] / TEXEL_M + 40.0, -1, 0).astype(np.float32)
            grey = cv2.remap(self._texture, s, t, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)
            image[nearer] = grey[nearer][:, None] * tint
        return np.round(image).astype(np.uint8), depth


def surface_distances(points):
    """Distance (N, 4) of points to each surface [m]."""
    return np.abs(
        np.stack([(points - point) @ np.array(normal) for point, normal, _ in SURFACES.values()])
    ).T


class TintSegmenter:
    """Labels cells by their tint: the surface's number; dark cells are unlabelled."""

    def __init__(self, stationary=None):
        self.checkpoint = SimpleNamespace(fingerprint="cd" * 32, stationary=stationary)
        self.label_count = len(SURFACES)

    def segment(self, image):
        cells = image[4::8, 4::8].astype(np.float64)
        tints = np.array([tint for _, _, tint in SURFACES.values()])
        tints /= np.linalg.norm(tints, axis=1, keepdims=True)
        labels = (cells @ tints.T).argmax(axis=-1).astype(np.uint16)
        labels[cells.max(axis=-1) == 0] = UNLABELLED
        return LabelMap(labels, np.full(labels.shape, 0.9, np.float32), 8, len(tints))
