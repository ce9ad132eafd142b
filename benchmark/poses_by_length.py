"""Time, memory and error of poses of raw recordings by length, beside plain pycolmap.

    fgsn simulate drive --town-seed 801 --duration-s 21 --rate-hz 5 --no-stops --output m150
    fgsn simulate drive --town-seed 801 --duration-s 80 --rate-hz 5 --no-stops --output m600
    python benchmark/poses_by_length.py m150 m600 --work /tmp/lengths

`fgsn poses` of each bag, and pycolmap's incremental mapping (SIFT, sequential pairs, the known
calibration, and nothing of odometry) of the same key frames, each in a process of its own: its CPU
time, all threads together, and peak memory. Positions are compared with the bag's ground truth
after alignment by a similarity, of pycolmap's largest model. What is in the folder is not made
again. Writes the rows to poses_by_length.md and .json.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import cv2
import numpy as np
import tyro
from numpy.typing import NDArray
from scoring import markdown_table, write_results

from fgsn_ros.geometry import poses
from fgsn_ros.geometry.similarity import fitted
from fgsn_ros.geometry.trajectory import Trajectory, read_tum
from fgsn_ros.recordings.open import open_recording
from fgsn_ros.recordings.recording import Recording, require_ground_truth

FloatArray = NDArray[np.float64]
OURS, PLAIN = "fgsn poses", "pycolmap"


@dataclass(frozen=True)
class PosesByLength:
    """Make poses of drives of several lengths in two ways."""

    drives: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """simulated bags of one camera"""
    work: Path
    """folder that keeps what each process makes"""
    pycolmap: bool = True
    """run pycolmap beside"""
    output: Path = Path("benchmark/results")
    """folder of the tables"""

    def run(self) -> None:
        """Print and write the table."""
        self.work.mkdir(parents=True, exist_ok=True)
        rows = [row for drive in self.drives for row in self._rows(drive)]
        table = markdown_table(rows)
        print(table)
        write_results(self.output, "poses_by_length", table, {"rows": rows})

    def _rows(self, drive: Path) -> Iterator[dict[str, str]]:
        recording, folder = open_recording(drive), self.work / drive.name
        folder.mkdir(exist_ok=True)
        truth = require_ground_truth(recording)
        made_in = folder / "poses"
        words = ["-m", "fgsn_ros.cli", "poses", str(drive), "--output", str(made_in)]
        used = _measured(folder / "ours.json", words)
        made = read_tum(made_in / f"{recording.name}.tum")
        error = _errors(truth, np.eye(4), made.stamps, made.poses[:, :3, 3])
        yield _row(truth, OURS, used, f"{len(made)} of {recording.frame_count}", error)
        if not self.pycolmap:
            return
        images = folder / "images"
        count = _write_key_frames(recording, made_in, images)
        mount = next(iter(recording.cameras.values()))
        camera = mount.camera
        values = ",".join(map(str, (camera.fx, camera.fy, camera.cx + 0.5, camera.cy + 0.5)))
        code = "import sys; from poses_by_length import plain; plain(*sys.argv[1:])"
        used = _measured(
            folder / "plain.json", ["-c", code, str(images), values, str(folder / "plain")]
        )
        rows = np.loadtxt(folder / "plain" / "centres.txt", ndmin=2)
        error = _errors(truth, mount.T_base_camera, rows[:, 0], rows[:, 1:])
        yield _row(truth, PLAIN, used, f"{len(rows)} of {count}", error)


def _row(
    truth: Trajectory, way: str, used: dict[str, float], placed: str, errors: FloatArray
) -> dict[str, str]:
    return {
        "way [m]": f"{truth.length_m():.0f}",
        "poses by": way,
        "images placed": placed,
        "CPU time [s]": f"{used['cpu_s']:.0f}",
        "wall time [s]": f"{used['wall_s']:.0f}",
        "peak memory [MB]": f"{used['peak_mb']:.0f}",
        "median error [m]": f"{np.median(errors):.3f}",
        "max [m]": f"{errors.max():.3f}",
    }


def _errors(
    truth: Trajectory, T_base_point: FloatArray, stamps: FloatArray, centres: FloatArray
) -> FloatArray:
    """(N,) of the way of a point of the robot, after alignment by a similarity [m]."""
    known = truth.covered(stamps)
    true = poses.compose(truth.at(stamps[known]), T_base_point)[:, :3, 3]
    return np.linalg.norm(fitted(centres[known], true).points(centres[known]) - true, axis=1)


def _measured(path: Path, words: list[str]) -> dict[str, float]:
    """What a Python process of its own takes, kept in a file with which it is not run again."""
    if not path.exists():
        here = [str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(here)}
        begin = time.perf_counter()
        process = subprocess.Popen([sys.executable, *words], env=environment)
        _, status, used = os.wait4(process.pid, 0)
        if status != 0:
            raise SystemExit(f"{' '.join(words)} failed")
        facts = {
            "cpu_s": used.ru_utime + used.ru_stime,
            "wall_s": time.perf_counter() - begin,
            "peak_mb": used.ru_maxrss / 1024.0,
        }
        path.write_text(json.dumps(facts))
    return dict(json.loads(path.read_text()))


def _write_key_frames(recording: Recording, made_in: Path, folder: Path) -> int:
    """The images that `fgsn poses` took for key frames, named by their stamps; their number.

    The names are in the order of time, in which pycolmap pairs them.
    """
    lines = (made_in / "colmap" / "images.txt").read_text().splitlines()
    stamps = {Path(line.split()[-1]).stem for line in lines if line.endswith(".png")}
    folder.mkdir(exist_ok=True)
    for frame in recording.frames():
        path = folder / f"{frame.stamp:018.6f}.png"
        if f"{frame.stamp:.6f}" in stamps and not path.exists():
            cv2.imwrite(str(path), frame.image[:, :, ::-1])
    return len(stamps)


def plain(images: str, camera: str, output: str) -> None:
    """Centres of images by pycolmap, of its largest model, to centres.txt: stamp x y z."""
    import pycolmap

    folder = Path(output)
    folder.mkdir(parents=True)
    database = folder / "database.db"
    reader = pycolmap.ImageReaderOptions(camera_model="PINHOLE", camera_params=camera)
    pycolmap.extract_features(
        database, images, camera_mode=pycolmap.CameraMode.SINGLE, reader_options=reader
    )
    pycolmap.match_sequential(database)
    options = pycolmap.IncrementalPipelineOptions(
        ba_refine_focal_length=False, ba_refine_extra_params=False
    )
    models = pycolmap.incremental_mapping(database, images, folder, options)
    model = max(models.values(), key=lambda one: one.num_reg_images())
    placed = [image for image in model.images.values() if image.has_pose]
    rows = [[float(Path(one.name).stem), *one.projection_center()] for one in placed]
    np.savetxt(folder / "centres.txt", rows, fmt="%.6f")


if __name__ == "__main__":
    tyro.cli(PosesByLength, description=__doc__).run()
