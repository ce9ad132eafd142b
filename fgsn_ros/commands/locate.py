"""`fgsn locate`: where single images were taken on a map."""

import json
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro
from tqdm import tqdm

from fgsn_ros.commands.compilation import compilation_said
from fgsn_ros.commands.locate_input import LocateInput, Query, open_queries
from fgsn_ros.commands.paths import inputs_of
from fgsn_ros.errors import LocalizationError
from fgsn_ros.evaluation.trajectory_errors import THRESHOLDS
from fgsn_ros.geometry import poses
from fgsn_ros.geometry.trajectory import Trajectory, write_tum
from fgsn_ros.localization.pipeline import require_log_ratio
from fgsn_ros.locating.camera_pose import FloatArray
from fgsn_ros.locating.locator import Located, Locator, LocatorSettings
from fgsn_ros.mapping.local_features import load_local_features
from fgsn_ros.mapping.map_files import load_map
from fgsn_ros.mapping.semantic_map import check_fingerprint
from fgsn_ros.outputs import Layout, check_folder, whole_folder
from fgsn_ros.recordings.recording import RecordingSettings
from fgsn_ros.segmentation.checkpoint import load_checkpoint
from fgsn_ros.segmentation.segmenter import Segmenter, SegmenterSettings

_FORMAT = "fgsn_ros located images"
LOCATED_FOLDER = Layout("images.json", f'"{_FORMAT}"', ("poses.txt", "trajectory.tum"))
_ROWS = 20
"""A table of more images is in the output folder alone."""


@dataclass(frozen=True)
class Locate:
    """Locate images on a map, each by itself: poses.txt, images.json, trajectory.tum.

    poses.txt has a line `name qw qx qy qz tx ty tz` for each located image, world to camera, as
    the long-term visual localization benchmark takes it, by the names that it asks for.
    """

    inputs: Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="IMAGE...")]
    """image files of one camera; lists of queries with intrinsics (.txt); or one recording, which
    is located frame by frame, slice of Extended CMU Seasons, or RobotCar Seasons"""
    map: Path
    """map folder made by `fgsn map`, with local features"""
    checkpoint: Path
    """the network that labelled the map (.safetensors or .onnx)"""
    output: Path
    """folder to make"""
    camera: Path | None = None
    """camera.yaml of the images, as ROS's camera_calibration writes it; it may add T_base_camera"""
    images: Path | None = None
    """folder that the names in lists of queries are relative to; without it that of each list"""
    overwrite: bool = False
    """replace the output folder"""
    recording: RecordingSettings = field(default_factory=RecordingSettings)
    segmenter: SegmenterSettings = field(default_factory=SegmenterSettings)
    locator: LocatorSettings = field(default_factory=LocatorSettings)

    def run(self) -> None:
        """Locate the images, write the folder, and print a table."""
        check_folder(self.output, LOCATED_FOLDER, self.overwrite, inputs_of(self))
        semantic_map = load_map(self.map)
        local = load_local_features(self.map, semantic_map)
        checkpoint = load_checkpoint(self.checkpoint)
        check_fingerprint(semantic_map, checkpoint.fingerprint)
        log_ratio = require_log_ratio(checkpoint)
        given = open_queries(self.inputs, self.camera, self.images, self.recording)
        locator = Locator(semantic_map, local, log_ratio, self.locator)
        segmenter = Segmenter(checkpoint, self.segmenter)
        with compilation_said(about_s=25):
            rows = [
                _located(query, locator, segmenter)
                for query in tqdm(given.queries, "locate", given.count, unit="image")
            ]
        _require_some(rows)
        with whole_folder(self.output, LOCATED_FOLDER, self.overwrite) as folder:
            _write(folder, rows, given.T_map_world)
        print(_table(rows[:_ROWS]))
        print(f"{self.output}: {_summary(rows, given)}")


@dataclass(frozen=True, eq=False)
class Row:
    """What came of an image."""

    query: Query
    """without its image"""
    located: Located | None
    """None: the image could not be read"""
    seconds: float
    """[s] that labels, features and pose took"""

    @property
    def why_not(self) -> str:
        """Why the image is not located; empty if it is."""
        if self.located is None:
            return str(self.query.image)
        return "" if self.located.hypotheses else self.located.why_not

    def pose(self) -> tuple[FloatArray, FloatArray]:
        """T_map_base (4, 4) and its covariance (6, 6) of a located image."""
        assert self.located is not None
        return self.located.hypotheses[0].pose.of_base(self.query.mount)


def _located(query: Query, locator: Locator, segmenter: Segmenter) -> Row:
    if isinstance(query.image, str):
        return Row(query, None, 0.0)
    start = time.perf_counter()
    features = locator.extract(query.image)
    located = locator.locate(features, segmenter.segment(query.image), query.mount)
    without = Query(query.name, "", query.mount, query.stamp)
    return Row(without, located, time.perf_counter() - start)


def _require_some(rows: list[Row]) -> None:
    """Refuse a result without any pose: say why of the images."""
    if all(row.why_not for row in rows):
        reasons = Counter(row.why_not for row in rows)
        said = "; ".join(f"{count} {reason}" for reason, count in reasons.most_common(3))
        raise LocalizationError(
            f"none of {len(rows)} images is located on the map: {said}"
            if len(rows) > 1
            else f"{rows[0].query.name} is not located on the map: {said[2:]}"
            if rows
            else "there is no image to locate"
        )


def _write(folder: Path, rows: list[Row], T_map_world: FloatArray) -> None:
    content = {"format": _FORMAT, "images": [_values(row) for row in rows]}
    (folder / "images.json").write_text(json.dumps(content, indent=1) + "\n")
    found = [row for row in rows if not row.why_not]
    (folder / "poses.txt").write_text("".join(_benchmark_line(row, T_map_world) for row in found))
    stamped = {row.query.stamp: row.pose()[0] for row in found if row.query.stamp is not None}
    if stamped:
        stamps = sorted(stamped)
        trajectory = Trajectory(np.array(stamps), np.stack([stamped[stamp] for stamp in stamps]))
        write_tum(folder / "trajectory.tum", trajectory)


def _benchmark_line(row: Row, T_map_world: FloatArray) -> str:
    """`name qw qx qy qz tx ty tz` of T_camera_world."""
    assert row.located is not None
    T_camera_map = poses.invert(row.located.hypotheses[0].pose.T_map_camera)
    translation, (x, y, z, w) = poses.to_quaternion(poses.compose(T_camera_map, T_map_world))
    numbers = " ".join(f"{value:.9g}" for value in (w, x, y, z, *translation))
    return f"{row.query.name} {numbers}\n"


def _values(row: Row) -> dict[str, object]:
    values: dict[str, object] = {"name": row.query.name, "seconds": round(row.seconds, 4)}
    if row.query.stamp is not None:
        values["stamp"] = row.query.stamp
    if row.located is not None:
        values |= {"features": row.located.features, "matches": row.located.matches}
    if row.why_not:
        return values | {"located": False, "reason": row.why_not}
    assert row.located is not None
    T_map_base, covariance = row.pose()
    translation, q_xyzw = poses.to_quaternion(T_map_base)
    return values | {
        "located": True,
        "inliers": row.located.hypotheses[0].inliers,
        "translation": translation.tolist(),
        "q_xyzw": q_xyzw.tolist(),
        "covariance": covariance.ravel().tolist(),
    }


def _table(rows: list[Row]) -> str:
    """Pose, its standard deviation and the inliers of each image."""
    width = max(len(row.query.name) for row in rows)
    heads = ("x [m]", "y [m]", "z [m]", "yaw [deg]", "std [m]", "std [deg]", "inliers")
    lines = [f"{'image':<{width}}" + "".join(f"{head:>11}" for head in heads)]
    for row in rows:
        if row.why_not:
            lines.append(f"{row.query.name:<{width}}  not located: {row.why_not}")
            continue
        assert row.located is not None
        T_map_base, covariance = row.pose()
        std = np.sqrt(np.array([covariance.trace() - covariance[3:, 3:].trace(), covariance[5, 5]]))
        yaw = np.degrees(poses.to_rpy(T_map_base)[2])
        numbers = (*T_map_base[:3, 3], yaw, std[0], np.degrees(std[1]))
        text = "".join(f"{number:>11.3f}" for number in numbers)
        count = row.located.hypotheses[0].inliers
        lines.append(f"{row.query.name:<{width}}{text}{count:>11}")
    return "\n".join(lines)


def _summary(rows: list[Row], given: LocateInput) -> str:
    """How many are located, at what rate, and, with ground truth, how well."""
    found = sum(not row.why_not for row in rows)
    seconds = [row.seconds for row in rows if row.located is not None]
    parts = [f"{found} of {len(rows)} images located", f"{np.median(seconds):.2f} s an image"]
    truth = given.recording.ground_truth if given.recording is not None else None
    judged = [row for row in rows if truth and truth.covers(row.query.stamp or 0.0)]
    if truth is not None and judged:
        errors = np.array([_errors(row, truth) for row in judged])
        for metres, degrees in THRESHOLDS:
            within = ((errors < (metres, degrees)).all(axis=1)).mean()
            parts.append(f"within {metres:g} m {degrees:g} deg: {within:.0%}")
    return ", ".join(parts)


def _errors(row: Row, truth: Trajectory) -> tuple[float, float]:
    """Errors of position [m] and rotation [deg]; infinite where the image is not located."""
    if row.why_not:
        return np.inf, np.inf
    difference = poses.compose(poses.invert(truth.at(row.query.stamp or 0.0)), row.pose()[0])
    angle = np.degrees(poses.rotation_angle(difference))
    return float(np.linalg.norm(difference[:3, 3])), float(angle)
