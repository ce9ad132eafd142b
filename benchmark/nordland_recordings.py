"""Nordland's sequence as two recordings, spring and winter, for locating.py and others.

    python benchmark/nordland_recordings.py --output /tmp/nordland
    python benchmark/locating.py --pair.map /tmp/nordland/spring --pair.query /tmp/nordland/winter \
        --kinds sift xfeat --methods none soft --map.local-features.ratio 0.95 \
        --map.min-stationary None

Each is a folder of images with camera.yaml, times.txt and poses.txt (see docs/recordings.md); the
poses of both are in one frame, those of the sequence's reference.
"""

import shutil
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import tyro
import yaml

from fgsn_ros.config import require
from fgsn_ros.geometry import poses
from fgsn_ros.geometry.cameras import T_BASE_OPTICAL
from fgsn_ros.geometry.trajectory import Trajectory, read_tum, write_tum
from fgsn_ros.outputs import Layout, whole_folder

_SEASONS = ("spring", "winter")
_SIZE = 1920, 1080
_LAYOUT = Layout("spring/times.txt", "", ("spring/*", "winter/*"))


@dataclass(frozen=True)
class NordlandRecordings:
    """Write both recordings."""

    output: Path
    """folder to make"""
    data: Path = Path("../shared/data/nordland_sequence")
    """folder with spring/, winter/, camera.yaml and reference_*_tum.txt"""
    width: int = 960
    """width of the written images [px], >= 16; at their own, 1920, they are copied"""

    def __post_init__(self) -> None:
        """Check the range."""
        require(self.width >= 16, "width must be at least 16")

    def run(self) -> None:
        """Write the folders."""
        with whole_folder(self.output, _LAYOUT) as temporary:
            for season in _SEASONS:
                folder = temporary / season
                (folder / "images").mkdir(parents=True)
                self._write(season, folder)

    def _write(self, season: str, folder: Path) -> None:
        reference = read_tum(self.data / f"reference_{season}_tum.txt")
        height = self.width * _SIZE[1] // _SIZE[0]
        for number in reference.stamps.astype(int):
            given = self.data / season / f"{number:02d}.jpg"
            if self.width == _SIZE[0]:
                shutil.copy(given, folder / "images")
                continue
            image = cv2.imread(str(given))
            small = cv2.resize(image, (self.width, height), interpolation=cv2.INTER_AREA)
            cv2.imwrite(str(folder / "images" / f"{number:02d}.png"), small)
        np.savetxt(folder / "times.txt", reference.stamps, "%.1f")
        T_map_base = poses.compose(reference.poses, poses.invert(T_BASE_OPTICAL))
        write_tum(folder / "poses.txt", Trajectory(reference.stamps, T_map_base))
        (folder / "camera.yaml").write_text(yaml.safe_dump(self._camera(height)))

    def _camera(self, height: int) -> dict[str, object]:
        given = yaml.safe_load((self.data / "camera.yaml").read_text())
        scale = self.width / _SIZE[0]
        translation, q_xyzw = poses.to_quaternion(T_BASE_OPTICAL)
        fx, fy = given["fx"] * scale, given["fy"] * scale
        cx, cy = ((given[name] + 0.5) * scale - 0.5 for name in ("cx", "cy"))
        coefficients = [given[name] for name in ("k1", "k2", "p1", "p2", "k3")]
        return {
            "image_width": self.width,
            "image_height": height,
            "camera_matrix": {"data": [fx, 0.0, cx, 0.0, fy, cy, 0.0, 0.0, 1.0]},
            "distortion_model": "plumb_bob",
            "distortion_coefficients": {"data": coefficients},
            "T_base_camera": {"translation": translation.tolist(), "q_xyzw": q_xyzw.tolist()},
        }


if __name__ == "__main__":
    tyro.cli(NordlandRecordings, description=__doc__).run()
