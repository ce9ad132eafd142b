"""Time and memory of `fgsn map` against the length of the drive, and where the time goes.

    fgsn simulate drive --town-seed 2024 --duration-s 22 --output /tmp/drive
    python benchmark/map_building.py /tmp/drive --checkpoint fgsn_ros/data/town.safetensors

A drive of any length without rendering it: the recording over and over, each time from where the
last one ended. Each length is built by a process of its own, whose peak memory is the system's
figure (ru_maxrss). Beside it, in the same run, the steps one after the other on one core: their
sum is what building took without threads, and the sum over the cores is the least it can take.
"""

import json
import os
import resource
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from typing import Annotated, Any, TypeVar

import cv2
import numpy as np
import torch
import tyro

from fgsn_ros.geometry import poses
from fgsn_ros.geometry.cameras import CameraMount
from fgsn_ros.geometry.trajectory import Trajectory
from fgsn_ros.mapping.blocks import Blocks, LabelledView
from fgsn_ros.mapping.builder import MapSettings, write_map
from fgsn_ros.mapping.labelling import cast_votes
from fgsn_ros.mapping.structure import Reconstruction, posed_frames
from fgsn_ros.recordings.open import open_recording
from fgsn_ros.recordings.recording import Frame, Recording, RecordingSettings, require_ground_truth
from fgsn_ros.segmentation.checkpoint import load_checkpoint
from fgsn_ros.segmentation.segmenter import Segmenter

Result = TypeVar("Result")


@dataclass(frozen=True)
class Building:
    """Build the maps of drives of several lengths."""

    recording: Annotated[Path, tyro.conf.Positional]
    """what is driven over and over"""
    checkpoint: Path
    """network that labels"""
    repeats: tuple[int, ...] = (1, 2, 4)
    """how often, for each length"""
    frames: int = 60
    """frames that the steps are timed on"""


class Repeated:
    """A recording several times, each from the place and the time at which the last one ended."""

    odometry, odometry_origin = None, ""

    def __init__(self, recording: Recording, times: int) -> None:
        self.name = f"{recording.name} x {times}"
        self.cameras: Mapping[str, CameraMount] = recording.cameras
        self.frame_count = times * recording.frame_count
        self._recording, self._times = recording, times
        once = require_ground_truth(recording)
        self._period_s = float(once.stamps[-1] - once.stamps[0]) + 0.1
        step = np.eye(4)  # no turn: the drive is to leave behind what it has seen
        step[:3, 3] = once.poses[-1, :3, 3] - once.poses[0, :3, 3]
        stamps, all_poses, T = [], [], np.eye(4)
        for number in range(times):
            stamps.append(once.stamps + number * self._period_s)
            all_poses.append(poses.compose(T, once.poses))
            T = poses.compose(step, T)
        self.ground_truth = Trajectory(np.concatenate(stamps), np.concatenate(all_poses))

    def frames(self) -> Iterator[Frame]:
        """Its frames, their stamps moved on."""
        for number in range(self._times):
            for frame in self._recording.frames():
                yield Frame(frame.stamp + number * self._period_s, frame.camera, frame.image)

    @property
    def km(self) -> float:
        """Length of the way."""
        steps = np.diff(self.ground_truth.poses[:, :3, 3], axis=0)
        return float(np.linalg.norm(steps, axis=1).sum()) / 1e3


def built(recording: Path, checkpoint: Path, times: int) -> dict[str, float]:
    """Figures of one map, built in this process alone."""
    drive = Repeated(open_recording(recording, RecordingSettings()), times)
    segmenter = Segmenter(load_checkpoint(checkpoint))
    segmenter.warm_up()
    before_mb = peak_mb()
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        points = len(write_map(Path(folder) / "map", drive, segmenter))
        disk = sum(path.stat().st_size for path in (Path(folder) / "map").iterdir())
    seconds = time.perf_counter() - start
    return {
        "km": drive.km,
        "seconds": seconds,
        "seconds_per_km": seconds / drive.km,
        "peak_mb": peak_mb(),
        "peak_mb_of_building": peak_mb() - before_mb,
        "points_per_km": points / drive.km,
        "map_mb_per_km": disk / 1e6 / drive.km,
    }


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


def steps(recording: Path, checkpoint: Path, frames: int) -> dict[str, float]:
    """Seconds per kilometre of each step on one core, one after the other."""
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    drive = Repeated(open_recording(recording, RecordingSettings()), 1)
    segmenter = Segmenter(load_checkpoint(checkpoint))
    segmenter.warm_up()
    reconstruction, taken = Reconstruction(drive.cameras), {}

    def timed(name: str, step: Callable[..., Result], *given: Any) -> Result:
        start = time.process_time()
        result = step(*given)
        taken[name] = time.process_time() - start
        return result

    used = posed_frames(drive, 0.25, 2.0, "steps")
    posed = timed("read", lambda: list(islice(used, frames)))
    labels = timed("label", lambda: [segmenter.segment(one.frame.image) for one in posed])
    numbers = timed("track", lambda: [reconstruction.add(one) for one in posed])
    structure = timed("triangulate", reconstruction.structure)
    views = [
        LabelledView(number, one.frame.camera, structure.T_map_camera[number], label_map)
        for number, one, label_map in zip(numbers, posed, labels, strict=True)
    ]
    with tempfile.TemporaryDirectory() as folder:
        blocks = Blocks(Path(folder), 10.0, segmenter.label_count)
        blocks.add(structure)
        cast_votes(blocks, views[:1], drive.cameras, MapSettings().voting)  # compiled at first use
        timed("vote", cast_votes, blocks, views, drive.cameras, MapSettings().voting)
    way = np.diff([one.T_map_base[:3, 3] for one in posed], axis=0)
    km = float(np.linalg.norm(way, axis=1).sum()) / 1e3
    return {name: seconds / km for name, seconds in taken.items()}


def alone(function: Callable[..., Result], *given: Any) -> Result:
    """What a function returns in a new process."""
    with get_context("spawn").Pool(1) as pool:
        result = pool.apply(function, given)
        pool.close()
        pool.join()
    return result


def main(building: Building) -> None:
    given = building.recording, building.checkpoint
    parts = alone(steps, *given, building.frames)
    total = sum(parts.values())
    print(json.dumps({"steps_s_per_km": parts, "sum": total}))
    for times in building.repeats:
        figures = alone(built, *given, times)
        cores = os.cpu_count() or 1
        least = max(total / cores, 1e-9)
        print(json.dumps(figures | {"share_of_least": least / figures["seconds_per_km"]}))


if __name__ == "__main__":
    main(tyro.cli(Building))
