"""Poses of raw recordings against the true ones: python benchmark/recording_poses.py.

    python benchmark/recording_poses.py --kitti kitti00
    python benchmark/recording_poses.py --drives summer winter
    python benchmark/recording_poses.py --folder spring --reference TUM --focal-reference YAML

KITTI: both passes of a road, frames 110-212 and 1556-1640 of sequence 00, with odometry derived
from KITTI's own poses. Pass 1 is judged against its ground truth after alignment by a similarity,
whose scale is the odometry's error; pass 2 after the same alignment against
pass2_reference_tum.txt. Drives: simulated bags of one town; the first is aligned, and the others by
the same alignment. A folder of images alone, without calibration or odometry, is aligned by a
similarity too, whole and in parts of ten images; the reference holds poses of the camera, and the
calibration to judge by is no input. Prints a row a recording and writes them to
recording_poses.md and .json, of images to image_poses.md and .json.
"""

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import tyro
from scoring import markdown_table, write_results

from fgsn_ros.commands.poses import posed_alone
from fgsn_ros.config import require
from fgsn_ros.geometry.similarity import fitted
from fgsn_ros.geometry.trajectory import Trajectory, read_tum
from fgsn_ros.mapping.sfm.image_poses import ImagePoseSettings, PosedImages
from fgsn_ros.mapping.sfm.image_report import image_facts, image_text
from fgsn_ros.mapping.sfm.recording_poses import PoseSettings, pose_recordings
from fgsn_ros.mapping.sfm.report import facts_of, text
from fgsn_ros.recordings.camera_files import read_camera
from fgsn_ros.recordings.image_folder import open_folder_images
from fgsn_ros.recordings.open import open_recording, read_reference
from fgsn_ros.recordings.recording import Recording, RecordingSettings

PASSES = (110, 212), (1556, 1640)


@dataclass(frozen=True)
class RecordingPoses:
    """Make poses of raw recordings and compare them with the true ones."""

    kitti: Path | None = None
    """folder with image_0, calib.txt, times.txt, poses_00.txt and pass2_reference_tum.txt"""
    drives: tuple[Path, ...] = ()
    """simulated bags of one town"""
    folder: Path | None = None
    """images alone, without camera.yaml"""
    reference: Path | None = None
    """of the folder's: TUM text, poses of the camera (z ahead)"""
    focal_reference: Path | None = None
    """calibration to judge the folder's by: a line `fx: NUMBER`, or a file that can be read"""
    output: Path = Path("benchmark/results")
    """folder of recording_poses.md and recording_poses.json"""
    seed: int = 0
    """of KITTI's derived odometry, >= 0"""
    poses: PoseSettings = field(default_factory=PoseSettings)
    images: ImagePoseSettings = field(default_factory=ImagePoseSettings)
    """of the folder"""

    def __post_init__(self) -> None:
        """Check that there is something to do."""
        named = (self.kitti is not None) + (len(self.drives) > 0) + (self.folder is not None)
        require(named == 1, "name --kitti, --drives or --folder")
        require(
            self.folder is None or None not in (self.reference, self.focal_reference),
            "--folder needs --reference and --focal-reference",
        )

    def run(self) -> None:
        """Print and write the table."""
        if self.folder is not None:
            self._run_folder(self.folder)
            return
        if self.kitti is not None:
            recordings = [self._pass(self.kitti, part) for part in PASSES]
            reference = read_reference(self.kitti / "pass2_reference_tum.txt", recordings[1])
            references = [recordings[0].ground_truth, reference]
        else:
            recordings = [open_recording(path) for path in self.drives]
            references = [recording.ground_truth for recording in recordings]
        begin = time.perf_counter()
        posed = pose_recordings(recordings, self.poses)
        seconds = time.perf_counter() - begin
        facts = facts_of(posed)
        print(text(facts))
        rows = judged(posed.trajectories, references, recordings, posed.group.tolist())
        table = f"{markdown_table(rows)}\n\n{seconds:.0f} s for all of it."
        print(table)
        write_results(self.output, "recording_poses", table, {"rows": rows, "report": facts})

    def _run_folder(self, folder: Path) -> None:
        assert self.reference is not None
        assert self.focal_reference is not None
        begin = time.perf_counter()
        posed = posed_alone(open_folder_images(folder, RecordingSettings()), self.images)
        seconds = time.perf_counter() - begin
        facts = image_facts(posed)
        print(image_text(facts))
        rows = judged_images(posed, read_tum(self.reference), _focal_px(self.focal_reference))
        table = f"{markdown_table(rows)}\n\n{seconds:.0f} s for all of it."
        print(table)
        write_results(self.output, "image_poses", table, {"rows": rows, "report": facts})

    def _pass(self, folder: Path, part: tuple[int, int]) -> Recording:
        settings = RecordingSettings(
            first=part[0],
            last=part[1],
            poses=folder / "poses_00.txt",
            derive_odometry=True,
            seed=self.seed,
        )
        return open_recording(folder, settings)


def judged(
    made: Sequence[Trajectory],
    references: Sequence[Trajectory | None],
    recordings: Sequence[Recording],
    group: Sequence[int],
) -> list[dict[str, str]]:
    """A row a recording; those of one frame are aligned by the first of them."""
    rows, alignment = [], {}
    for trajectory, reference, recording, frame in zip(
        made, references, recordings, group, strict=True
    ):
        assert reference is not None
        covered = reference.covered(trajectory.stamps)
        true = reference.at(trajectory.stamps[covered])[:, :3, 3]
        own = trajectory.poses[covered, :3, 3]
        first = frame not in alignment
        if first:
            alignment[frame] = fitted(own, true)
        error = np.linalg.norm(alignment[frame].points(own) - true, axis=1)
        judged_part = reference.between(
            trajectory.stamps[covered][0], trajectory.stamps[covered][-1]
        )
        way = judged_part.length_m()
        rows.append(
            {
                "recording": recording.name,
                "frames": f"{int(covered.sum())} of {len(trajectory)}",
                "way [m]": f"{way:.1f}",
                "aligned by": "itself" if first else "the first",
                "median [m]": f"{np.median(error):.3f}",
                "median, share of the way": f"{np.median(error) / way:.2%}",
                "95 % [m]": f"{np.percentile(error, 95):.3f}",
                "max [m]": f"{error.max():.3f}",
                "scale": f"{1.0 / alignment[frame].scale:.4f}",
            }
        )
    return rows


def judged_images(
    posed: PosedImages, reference: Trajectory, focal_px: float
) -> list[dict[str, str]]:
    """A row for all images and for each ten of them, aligned by itself."""
    covered = reference.covered(posed.trajectory.stamps)
    true = reference.at(posed.trajectory.stamps[covered])[:, :3, 3]
    own = posed.trajectory.poses[covered, :3, 3]
    parts = [(first, first + _PART) for first in range(0, len(true) - _PART + 1, _PART)]
    rows = []
    whole = fitted(own, true).scale
    for first, last in [(0, len(true)), *parts]:
        to_true = fitted(own[first:last], true[first:last])
        error = np.linalg.norm(to_true.points(own[first:last]) - true[first:last], axis=1)
        way = float(np.linalg.norm(np.diff(true[first:last], axis=0), axis=1).sum())
        rows.append(
            {
                "images": f"{first + 1} to {last}",
                "way [m]": f"{way:.1f}",
                "median [m]": f"{np.median(error):.2f}",
                "median, share of the way": f"{np.median(error) / way:.2%}",
                "max [m]": f"{error.max():.2f}",
                "scale against the whole": f"{to_true.scale / whole:.3f}",
                "focal length": f"{posed.model.camera.fx:.0f} px, "
                f"{posed.model.camera.fx / focal_px - 1.0:+.1%}",
            }
        )
    return rows


_PART = 10


def _focal_px(path: Path) -> float:
    found = re.search(r"^fx:\s*([0-9.]+)", path.read_text(encoding="utf-8"), re.MULTILINE)
    return float(found[1]) if found else read_camera(path)[0].fx


if __name__ == "__main__":
    tyro.cli(RecordingPoses, description=__doc__).run()
