"""Single images located on a map made in summer: without labels, by SSMC and by GSMC.

    python benchmark/locating.py --work /tmp/locating

For each town, none of which the network was trained in, a map is made of a drive in summer. Images
of drives in other seasons are located on it, each by itself and without a prior: the same features,
the same places and the same RANSAC for each way of weighing the matches. `--pair.map` and
`--pair.query` take recordings in place of the towns. Prints recall by season with 95 % intervals
(Wilson's) and writes locating.md and locating.json.

Drives, maps, labels, features and the poses of each image are kept in --work under names that hold
what they were made with: a run goes on where another stopped. Remove the folder after a change of
the code.
"""

import dataclasses
import hashlib
import json
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import tyro
from numpy.typing import NDArray
from scipy.sparse.csgraph import minimum_spanning_tree
from scipy.spatial.distance import pdist, squareform
from scoring import markdown_table, write_results
from tqdm import tqdm

from fgsn_ros.commands.demo import PACKAGED_CHECKPOINT
from fgsn_ros.config import require
from fgsn_ros.evaluation.trajectory_errors import THRESHOLDS
from fgsn_ros.geometry import poses
from fgsn_ros.geometry.cameras import CameraMount
from fgsn_ros.geometry.trajectory import Trajectory
from fgsn_ros.localization.pipeline import require_log_ratio
from fgsn_ros.locating.consistency import Method
from fgsn_ros.locating.locator import Located, Locator, LocatorSettings
from fgsn_ros.locating.retrieval import Place
from fgsn_ros.mapping.builder import MapSettings, write_map
from fgsn_ros.mapping.descriptors import ImageFeatures, Kind, feature_extractor
from fgsn_ros.mapping.local_features import FOLDER, LocalFeatures, load_local_features
from fgsn_ros.mapping.map_files import load_map
from fgsn_ros.outputs import whole_file
from fgsn_ros.recordings.open import open_recording, read_reference
from fgsn_ros.recordings.recording import Recording, RecordingSettings, require_ground_truth
from fgsn_ros.segmentation.checkpoint import load_checkpoint
from fgsn_ros.segmentation.labels import LabelMap
from fgsn_ros.segmentation.segmenter import Segmenter, SegmenterSettings
from fgsn_ros.simulation.bags import write_drive
from fgsn_ros.simulation.drive import DriveSettings, SimulatedDrive
from fgsn_ros.simulation.seasons import Season

_MAPPED_WITHIN_M = 5.0
"""Images further from any of the map's are not asked about: their drive may be the longer."""


@dataclass(frozen=True)
class Pair:
    """Two recordings in place of the towns: one is mapped, frames of the other are located."""

    map: Path | None = None
    query: Path | None = None
    reference: Path | None = None
    """trajectory of the query in the map frame (TUM text); else its ground truth"""
    map_recording: RecordingSettings = field(default_factory=RecordingSettings)
    query_recording: RecordingSettings = field(default_factory=RecordingSettings)


@dataclass(frozen=True)
class Locating:
    """Locate images of several seasons on maps made in summer."""

    checkpoint: Path = PACKAGED_CHECKPOINT
    """network trained on other towns"""
    output: Path = Path("benchmark/results")
    """folder of locating.md and locating.json"""
    work: Path = Path("benchmark/work")
    """folder that keeps what was made"""
    methods: tuple[Method, ...] = ("none", "ssmc", "soft", "gsmc")
    """how labels weigh the matches"""
    kinds: tuple[Kind, ...] = ("sift",)
    """local features, in turn"""
    place_known: bool = False
    """match with the points around the nearest image of the map, in place of those that look alike:
    judges features and labels without the retrieval"""
    towns: tuple[int, ...] = (9001, 9002)
    """seeds of the towns"""
    seasons: tuple[Season, ...] = (Season.WINTER, Season.NIGHT)
    """seasons of the located images"""
    map_s: tuple[float, ...] = (50.0,)
    """length of each town's drive that is mapped, or of all [s]"""
    query_s: tuple[float, ...] = (32.0,)
    """length of each town's located drives, or of all [s], two images a second"""
    pair: Pair = field(default_factory=Pair)
    threads: int = 0
    """threads for rendering, 0 for all cores"""
    map: MapSettings = field(default_factory=MapSettings)
    segmenter: SegmenterSettings = field(default_factory=SegmenterSettings)
    locator: LocatorSettings = field(default_factory=LocatorSettings)

    def __post_init__(self) -> None:
        """Check the ranges."""
        require(len(self.methods) > 0, "give a method")
        require(len(self.kinds) > 0, "give a kind of local features")
        pair = (self.pair.map, self.pair.query)
        require(pair.count(None) != 1, "give both recordings of a pair")
        for lengths in (self.map_s, self.query_s):
            require(len(lengths) in (1, len(self.towns)), "give one length, or one for each town")

    def run(self) -> None:
        """Drive, map, locate; print and write the table."""
        rows: list[dict[str, Any]] = []
        text = ""
        for case in self.cases():
            for kind, method in product(self.kinds, self.methods):
                named = {"features": kind, "method": method, "case": case.name}
                rows += [{**row, **named} for row in case.rows(kind, method)]
                text = "\n\n".join([table(rows), self._note()])
                write_results(self.output, "locating", text, rows)
        print(text)

    def cases(self) -> Iterator["Case"]:
        """Each recording that is located, and what it is located on."""
        segmenter = Segmenter(load_checkpoint(self.checkpoint), self.segmenter)
        if self.pair.map is not None and self.pair.query is not None:
            query = open_recording(self.pair.query, self.pair.query_recording)
            mapped = open_recording(self.pair.map, self.pair.map_recording)
            yield Case(self, segmenter, query.name, mapped, query, repr(self.pair), "")
            return
        for number, town in enumerate(self.towns):
            map_s, query_s = (
                lengths[min(number, len(lengths) - 1)] for lengths in (self.map_s, self.query_s)
            )
            summer = DriveSettings(
                town_seed=town, season=Season.SUMMER, duration_s=map_s, stops=False
            )
            for season in self.seasons:
                drive = DriveSettings(
                    town_seed=town, season=season, drive_seed=2, duration_s=query_s, rate_hz=2.0
                )
                recordings = self._driven(summer), self._driven(drive)
                yield Case(self, segmenter, season.value, *recordings, repr(summer), repr(drive))

    def _driven(self, drive: DriveSettings) -> Recording:
        path = self.kept("drive", drive)
        if not path.exists():
            rendered = dataclasses.replace(drive, threads=self.threads)
            write_drive(SimulatedDrive(rendered), path)
        return open_recording(path)

    def kept(self, kind: str, *made_with: object) -> Path:
        """Path in the work folder, named by everything that the file depends on."""
        digest = hashlib.sha256(repr(made_with).encode()).hexdigest()[:10]
        return self.work / f"{kind}-{digest}"

    def _note(self) -> str:
        limits = " / ".join(f"{metres:g} m {degrees:g} deg" for metres, degrees in THRESHOLDS)
        return (
            f"Recall within {limits} [%], with 95 % intervals; an image that is not located counts "
            "as wrong. Images/s: matching, weighing and pose of the median image, without labels "
            f"and features, on {cv2.getNumThreads()} threads. NEES: median of the squared error of "
            "located images within 5 m by their covariance; 5.3 if errors were Gaussian. MB/km: "
            "the map's local features, for a kilometre of its drive."
        )


@dataclass(frozen=True, eq=False)
class Case:
    """Images of one recording, located on the map of another."""

    settings: Locating
    segmenter: Segmenter
    name: str
    mapped: Recording
    query: Recording
    map_of: str
    """what the mapped recording was made with"""
    query_of: str
    """what the located one was made with"""

    def rows(self, kind: Kind, method: Method) -> list[dict[str, Any]]:
        """What came of each image, by a kind of local features and a method."""
        s = self.settings
        consistency = dataclasses.replace(s.locator.consistency, method=method)
        settings = dataclasses.replace(s.locator, consistency=consistency)
        network = self.segmenter.checkpoint.fingerprint
        made_with = self.map_of, self.query_of, network, self.map_settings(kind), settings
        found_by = ("place known",) if s.place_known else ()
        path = s.kept("located", *made_with, *found_by).with_suffix(".json")
        if not path.exists():
            found = self._located(settings, kind, f"{kind} {method}")
            with whole_file(path) as temporary:
                temporary.write_text(json.dumps(found))
        rows: list[dict[str, Any]] = json.loads(path.read_text())
        return rows

    def map_settings(self, kind: Kind) -> MapSettings:
        """Of a map with local features of a kind."""
        features = dataclasses.replace(self.settings.map.local_features, kind=kind)
        return dataclasses.replace(self.settings.map, local_features=features)

    def truth(self) -> Trajectory:
        """T_map_base of the located recording."""
        reference = self.settings.pair.reference
        if reference is not None:
            return read_reference(reference, self.query)
        return require_ground_truth(self.query)

    def _located(self, settings: LocatorSettings, kind: Kind, title: str) -> list[dict[str, Any]]:
        folder = self.map_folder(kind)
        semantic_map = load_map(folder)
        local = load_local_features(folder, semantic_map)
        log_ratio = require_log_ratio(self.segmenter.checkpoint)
        locator = Locator(semantic_map, local, log_ratio, settings)
        truth, megabytes = self.truth(), megabytes_per_km(folder)
        mount = next(iter(self.query.cameras.values()))
        rows = []
        for stamp, features, label_map in tqdm(self.seen(kind), f"{self.name} {title}"):
            if self.is_asked(stamp, truth, local):
                places = self._known_places(truth.at(stamp), local)
                start = time.perf_counter(), time.process_time()
                located = locator.locate(features, label_map, mount, places)
                spent = time.perf_counter() - start[0], time.process_time() - start[1]
                values = values_of(located, mount, truth.at(stamp))
                rows.append({**values, "seconds": spent, "mb_per_km": megabytes})
        return rows

    def _known_places(
        self, T_map_base: NDArray[np.float64], local: LocalFeatures
    ) -> list[Place] | None:
        """The place of the nearest image of the map, where places are known."""
        if not self.settings.place_known:
            return None
        mount = next(iter(self.query.cameras.values()))
        camera = poses.compose(T_map_base, mount.T_base_camera)[:3, 3]
        metres = np.linalg.norm(local.T_map_camera[:, :3, 3] - camera, axis=1)
        return [Place(local.T_map_camera[metres.argmin()], 1.0)]

    def is_asked(self, stamp: float, truth: Trajectory, local: LocalFeatures) -> bool:
        """Whether the image of a stamp was taken near one of the map's."""
        if not truth.covers(stamp):
            return False
        mount = next(iter(self.query.cameras.values()))
        camera = poses.compose(truth.at(stamp), mount.T_base_camera)[:3, 3]
        metres = np.linalg.norm(local.T_map_camera[:, :3, 3] - camera, axis=1)
        return bool(metres.min() < _MAPPED_WITHIN_M)

    def map_folder(self, kind: Kind) -> Path:
        """The map of the mapped recording, made where it is not there yet."""
        s, settings = self.settings, self.map_settings(kind)
        folder = s.kept("map", self.map_of, self.segmenter.checkpoint.fingerprint, settings)
        if not folder.exists():
            write_map(folder, self.mapped, self.segmenter, settings)
        return folder

    def seen(self, kind: Kind) -> Iterator[tuple[float, ImageFeatures, LabelMap]]:
        """Stamp, features and labels of each image, found once."""
        s = self.settings
        made_with = kind, self.segmenter.checkpoint.fingerprint, s.segmenter, s.locator.features
        path = s.kept("seen", self.map_of, self.query_of, *made_with).with_suffix(".npz")
        if not path.exists():
            self._keep_seen(path, kind)
        with np.load(path, allow_pickle=False) as arrays:
            stamps, counts = arrays["stamps"], arrays["counts"]
            pixels, descriptors = arrays["pixels"], arrays["descriptors"]
            labels, confidence = arrays["labels"], arrays["confidence"]
        ends = np.cumsum(counts)
        for i, (stamp, first, last) in enumerate(zip(stamps, ends - counts, ends, strict=True)):
            label_map = LabelMap(
                labels[i], confidence[i], self.segmenter.stride, self.segmenter.label_count
            )
            yield (
                float(stamp),
                ImageFeatures(pixels[first:last], descriptors[first:last]),
                label_map,
            )

    def _keep_seen(self, path: Path, kind: Kind) -> None:
        extract = feature_extractor(kind, self.settings.locator.features)
        kept: defaultdict[str, list[Any]] = defaultdict(list)
        for frame in tqdm(self.query.frames(), f"{self.name}: labels and features"):
            features, label_map = extract(frame.image), self.segmenter.segment(frame.image)
            kept["stamps"].append(frame.stamp)
            kept["counts"].append(len(features))
            kept["pixels"].append(features.pixels)
            kept["descriptors"].append(features.descriptors)
            kept["labels"].append(label_map.labels)
            kept["confidence"].append(label_map.confidence)
        joined = {name: np.concatenate(kept.pop(name)) for name in ("pixels", "descriptors")}
        with whole_file(path) as temporary:
            np.savez_compressed(temporary, **joined, **{n: np.array(v) for n, v in kept.items()})


def megabytes_per_km(map_folder: Path) -> float:
    """Size of a map's local features, by the length of the shortest tree through its key frames."""
    size = sum(file.stat().st_size for file in (map_folder / FOLDER).iterdir())
    positions = load_map(map_folder).keyframe_poses[:, :3, 3]
    return size / 1e3 / float(minimum_spanning_tree(squareform(pdist(positions))).sum())


def values_of(
    located: Located, mount: CameraMount, T_map_base: NDArray[np.float64]
) -> dict[str, Any]:
    """Errors, covariance's judgement and counts of a located image."""
    values = {"features": located.features, "matches": located.matches, "inliers": 0}
    if not located.hypotheses:
        return {**values, "metres": None, "degrees": None, "nees": None}
    best = located.hypotheses[0]
    T, covariance = best.pose.of_base(mount)
    turned = poses.from_rotation_translation(T[:3, :3] @ T_map_base[:3, :3].T, np.zeros(3))
    error = np.concatenate([T[:3, 3] - T_map_base[:3, 3], poses.rotation_vector(turned)])
    return {
        **values,
        "inliers": best.inliers,
        "metres": float(np.linalg.norm(error[:3])),
        "degrees": float(np.degrees(np.linalg.norm(error[3:]))),
        "nees": float(error @ np.linalg.solve(covariance, error)),
    }


def table(rows: list[dict[str, Any]]) -> str:
    """A row for each case and method, the images of all towns pooled."""
    groups: defaultdict[tuple[str, str, str], list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        groups[row["case"], row["features"], row["method"]].append(row)
    return markdown_table(
        {
            "images of": case,
            "features": kind,
            "labels": method,
            "images": str(len(group)),
            **{f"{m:g} m {d:g} deg": recall(group, m, d) for m, d in THRESHOLDS},
            "located": f"{100 * np.mean([row['inliers'] > 0 for row in group]):.0f}",
            "matches": f"{np.median([row['matches'] for row in group]):.0f}",
            "inliers": f"{np.median([row['inliers'] for row in group]):.0f}",
            "images/s": f"{1.0 / np.median([row['seconds'][0] for row in group]):.1f}",
            "CPU s": f"{np.median([row['seconds'][1] for row in group]):.2f}",
            "NEES": nees(group),
            "MB/km": f"{np.mean([row['mb_per_km'] for row in group]):.1f}",
        }
        for (case, kind, method), group in sorted(groups.items(), key=lambda item: item[0][0])
    )


def recall(group: list[dict[str, Any]], metres: float, degrees: float) -> str:
    """Share of images within limits, and Wilson's 95 % interval [%]."""
    hits = sum(r["inliers"] > 0 and r["metres"] < metres and r["degrees"] < degrees for r in group)
    low, high = wilson(hits, len(group))
    return f"{100 * hits / len(group):.0f} ({100 * low:.0f}-{100 * high:.0f})"


def wilson(hits: int, count: int, z: float = 1.96) -> tuple[float, float]:
    """Interval of a share, from hits among independent trials (Wilson, JASA 1927)."""
    share, scale = hits / count, 1.0 + z * z / count
    middle = (share + z * z / (2 * count)) / scale
    half = z * np.sqrt(share * (1 - share) / count + z * z / (4 * count * count)) / scale
    return max(0.0, middle - half), min(1.0, middle + half)


def nees(group: list[dict[str, Any]]) -> str:
    """Median of the located images within 5 m."""
    values = [row["nees"] for row in group if row["inliers"] and row["metres"] < 5.0]
    return f"{np.median(values):.1f}" if values else "-"


if __name__ == "__main__":
    tyro.cli(Locating, description=__doc__, config=(tyro.conf.EnumChoicesFromValues,)).run()
