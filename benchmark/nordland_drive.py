"""Nordland, end to end: a railway line mapped in spring and localized in snow, and the reverse.

    python benchmark/nordland_drive.py --work /tmp/nordland_drive

60 consecutive photographs of each season, 11 m apart, with reference poses of both in one frame.
One season is mapped, the other localized on it from a wrong start, with odometry that is derived
from the reference (2 % scale error, drift, noise). Networks are trained from the packaged one on
points that both seasons show in one half of the line (see nordland_training.py) and judged on the
other half. In one filter and from one start: labels, local features, both, labels of the packaged
network, and SIFT; dead reckoning beside them. Local features are matched where the poses allow it
(`guided_px`, `off_deg`), and their points carry labels too (`among_points`): images so far apart
are hardly tracked. Writes nordland_drive.md, .json and plots to --output; pictures that show
photographs, whose licence is non-commercial, stay in --work.

What was made stays in --work: a run goes on where another stopped. Remove the folder after a change
of the code.
"""

import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro
from experiment_data import digest_of
from experiment_runs import trained_once
from kept_features import KeptExtractor, KeptPoses
from nordland_drive_tables import Judged, stretch_table
from nordland_pictures import draw_errors, draw_paths, draw_points
from nordland_recordings import NordlandRecordings
from nordland_training import HALVES, Half, write_half
from scoring import segmented_once, write_results

from fgsn_ros.commands.demo import PACKAGED_CHECKPOINT
from fgsn_ros.commands.start import Start
from fgsn_ros.config import load_yaml, override, require
from fgsn_ros.evaluation.trajectory_errors import compare, dead_reckoning, lost
from fgsn_ros.geometry.trajectory import Trajectory
from fgsn_ros.localization.localizer import LocalizerSettings
from fgsn_ros.localization.pipeline import localize, require_log_ratio
from fgsn_ros.locating.camera_pose import PoseSettings
from fgsn_ros.locating.feature_poses import FeaturePoses, FeaturePoseSettings
from fgsn_ros.locating.matching import MatchSettings
from fgsn_ros.mapping.builder import MapSettings, write_map
from fgsn_ros.mapping.descriptors import FeatureSettings, Kind, feature_extractor
from fgsn_ros.mapping.feature_builder import LocalFeatureSettings
from fgsn_ros.mapping.local_features import load_local_features
from fgsn_ros.mapping.map_files import load_map
from fgsn_ros.mapping.semantic_map import SemanticMap
from fgsn_ros.mapping.structure import StructureSettings
from fgsn_ros.mapping.tracks import TrackSettings
from fgsn_ros.mapping.triangulation import TriangulationSettings
from fgsn_ros.outputs import whole_file
from fgsn_ros.recordings.folder_recording import FolderRecording
from fgsn_ros.recordings.odometry import OdometryNoise, derived_from
from fgsn_ros.recordings.open import open_recording
from fgsn_ros.recordings.recording import Recording, require_ground_truth, require_odometry
from fgsn_ros.segmentation.checkpoint import load_checkpoint
from fgsn_ros.segmentation.segmenter import Segmenter, SegmenterSettings
from fgsn_ros.training.settings import TrainSettings

RECIPE = Path(__file__).parent.parent / "config" / "train.yaml"
SEASONS = "spring", "winter"
DEAD = "dead reckoning"
NO_LABELS = 1e-9
"""Independent points of a frame whose labels weigh nothing."""


@dataclass(frozen=True)
class Method:
    """What weighs the particles."""

    name: str
    labels: bool
    kind: Kind | None
    """local features that are weighed"""
    trained: bool
    """networks of both halves, each judged on the other; else the packaged one"""


METHODS = (
    Method("XFeat", False, "xfeat", False),
    Method("SIFT + PnP", False, "sift", False),
    Method("labels and XFeat, packaged network", True, "xfeat", False),
    Method("labels and XFeat, trained", True, "xfeat", True),
    Method("labels, trained", True, None, True),
    Method("labels, packaged network", True, None, False),
)


@dataclass(frozen=True)
class NordlandDrive:
    """Map one season, localize the other, by several methods; and the reverse."""

    data: Path = Path("../shared/data/nordland_sequence")
    """folder with spring/, winter/, camera.yaml and reference_*_tum.txt"""
    output: Path = Path("benchmark/results")
    """folder of nordland_drive.md and .json, and of the plots"""
    work: Path = Path("benchmark/work/nordland_drive")
    """folder that keeps what was made, and the pictures with photographs"""
    seeds: int = 5
    """runs of each, >= 1"""
    trained: bool = True
    """train networks; else only the methods that need none"""
    only: tuple[str, ...] = field(default=(), repr=False)
    """methods to run, by name; none: all"""
    start: Start = field(default_factory=lambda: Start(offset_m=1.5, offset_deg=3.0))
    noise: OdometryNoise = field(default_factory=OdometryNoise)
    """of the derived odometry"""
    features: int = 3000
    """local features of an image, >= 16"""
    guided_px: float = 3.0
    """features match from image to image this near the line that the poses allow [px], > 0"""
    range_m: float = 120.0
    """points further from all images are left out [m], > 0"""
    ratio: float = 0.9
    """of the ratio test between image and map, (0, 1]"""
    off_deg: float = 1.5
    """features match points this near where the prediction may show them [deg], > 0"""
    label_count: int = 50
    """labels of the trained networks, [8, 1000]"""
    iterations: int = 12
    """steps of each training, > 0"""
    threads: int = 1
    """CPU threads of PyTorch, > 0"""
    localizer: LocalizerSettings = field(default_factory=LocalizerSettings)

    def __post_init__(self) -> None:
        """Check what no other settings check."""
        require(self.seeds >= 1, "seeds must be >= 1")
        require(self.threads > 0, "threads must be above 0")
        unknown = set(self.only).difference(method.name for method in METHODS)
        require(not unknown, f"no such method: {', '.join(sorted(unknown))}")

    def run(self) -> None:
        """Run all; print and write tables and pictures."""
        torch.set_num_threads(self.threads)
        judged: list[Judged] = []
        text = ""
        for method in (*METHODS, None):
            if method is not None and not self._wanted(method):
                continue
            for season in SEASONS:
                judged += self._judged(season, method)
            text = "\n\n".join([*(stretch_table(judged, s) for s in SEASONS), self._note()])
            write_results(self.output, "nordland_drive", text, [vars(each) for each in judged])
        print(text)
        references = {season: self._truth(season) for season in SEASONS}
        draw_paths(self.output / "nordland_paths.png", judged, references)
        draw_errors(self.output / "nordland_errors.png", judged)
        self._draw_points()

    def _wanted(self, method: Method) -> bool:
        named = not self.only or method.name in self.only
        return named and (self.trained or not method.trained)

    def _judged(self, season: str, method: Method | None) -> Iterator[Judged]:
        """Runs of a season by a method; None: dead reckoning."""
        if method is None or not method.trained:
            networks = [(PACKAGED_CHECKPOINT, None)]
        else:
            networks = [(self._trained(half), half.other) for half in HALVES]
        for network, half in networks:
            for seed in range(self.seeds):
                yield self._run(season, method, network, half, seed)

    def _run(
        self, season: str, method: Method | None, network: Path, half: Half | None, seed: int
    ) -> Judged:
        name = DEAD if method is None else method.name
        settings = replace(self, output=Path(), work=Path(), data=Path(), seeds=1, trained=True)
        if half is None:  # of no training
            settings = replace(settings, label_count=50, iterations=12)
        path = self.work / "runs" / f"{digest_of(repr(settings), season, name, half, seed)}.json"
        if not path.exists():
            trajectory = self._localized(season, method, network, seed)
            with whole_file(path) as temporary:
                temporary.write_text(json.dumps(self._errors(trajectory, season)))
            print(f"{season}, {name}, seed {seed}: {path.name}", flush=True)
        found: dict[str, Any] = json.loads(path.read_text())
        first, last = (1, 60) if half is None else half.frames
        return Judged(season, name, seed, first, last, **found)

    def _errors(self, trajectory: Trajectory, season: str) -> dict[str, Any]:
        errors = compare(trajectory, self._truth(season))
        return {
            "frames": errors.stamps.astype(int).tolist(),
            "along_m": errors.longitudinal_m.tolist(),
            "lateral_m": errors.lateral_m.tolist(),
            "heading_deg": errors.heading_deg.tolist(),
            "x": trajectory.poses[:, 0, 3].tolist(),
            "y": trajectory.poses[:, 1, 3].tolist(),
            "lost": lost(errors),
        }

    def _localized(
        self, season: str, method: Method | None, network: Path, seed: int
    ) -> Trajectory:
        recording = self._with_odometry(season, seed)
        start = self.start.initial(recording, self._truth(season), np.random.default_rng(seed))
        if method is None:
            stamps = self._truth(season).stamps
            return dead_reckoning(
                require_odometry(recording), start.T_map_base, stamps, start.stamp
            )
        segmenter = self._segmenter(network)
        folder = self._map(_other(season), method.kind or "xfeat", network)
        semantic_map, measurement = load_map(folder), self.localizer.measurement
        if not method.labels:
            measurement = replace(measurement, independent_points=NO_LABELS)
        labels = segmented_once(recording, segmenter, self._labels(season, segmenter))
        run = localize(
            recording,
            semantic_map,
            segmenter.checkpoint,
            start,
            replace(self.localizer, measurement=measurement, random_seed=seed),
            labels,
            self._finder(folder, semantic_map, segmenter, method),
            progress=False,
        )
        return run.trajectory

    def _labels(self, season: str, segmenter: Segmenter) -> Path:
        folder = self.work / "labels"
        folder.mkdir(parents=True, exist_ok=True)
        return folder / f"{season}-{segmenter.checkpoint.fingerprint[:8]}.npz"

    def _finder(
        self, folder: Path, semantic_map: SemanticMap, segmenter: Segmenter, method: Method
    ) -> KeptPoses | None:
        if method.kind is None:
            return None
        if folder in self._finders:
            return self._finders[folder]
        matching = MatchSettings(
            self.ratio,
            away_m=2.0,
            view_angle_deg=45.0,
            radius_m=self.range_m,
            off_deg=self.off_deg,
        )
        # A third of these matches is right: fewer samples do, and each image is looked for on the
        # whole map too, as long as the labels do not confirm the pose.
        settings = FeaturePoseSettings(
            matching=matching, features=self._image, pose=PoseSettings(samples=1500)
        )
        local = load_local_features(folder, semantic_map)
        log_ratio = require_log_ratio(segmenter.checkpoint)
        found = FeaturePoses(semantic_map, local, log_ratio, settings)
        self._finders[folder] = KeptPoses(found, self._extractor(method.kind))
        return self._finders[folder]

    @cached_property
    def _finders(self) -> dict[Path, KeptPoses]:
        """By the map's folder."""
        return {}

    @property
    def _image(self) -> FeatureSettings:
        return FeatureSettings(features=self.features)

    def _extractor(self, kind: Kind) -> KeptExtractor:
        """Finds features of each image once, for all maps and runs."""
        folder = self.work / "features" / f"{kind}-{self.features}"
        return KeptExtractor(feature_extractor(kind, self._image), folder)

    def _map(self, season: str, kind: Kind, network: Path) -> Path:
        """Folder of a season's map, labelled by a network."""
        segmenter, settings = self._segmenter(network), self._map_settings(kind)
        digest = digest_of(repr(settings), segmenter.checkpoint.fingerprint)
        folder = self.work / "maps" / f"{season}-{kind}-{digest}"
        if not folder.exists():
            folder.parent.mkdir(parents=True, exist_ok=True)
            write_map(folder, self._recordings[season], segmenter, settings)
        return folder

    def _map_settings(self, kind: Kind) -> MapSettings:
        # Two images have to do for a point: a third is 22 m on.
        structure = StructureSettings(
            tracks=TrackSettings(min_views=2),
            triangulation=TriangulationSettings(max_range_m=self.range_m),
        )
        local = LocalFeatureSettings(
            kind, guided_px=self.guided_px, among_points=True, image=self._image
        )
        # A network that knows no railways does not know what stays there.
        return MapSettings(min_stationary=None, structure=structure, local_features=local)

    @cached_property
    def _recordings(self) -> dict[str, FolderRecording]:
        folder = self.work / "recordings"
        if not folder.exists():
            NordlandRecordings(folder, self.data, width=1920).run()
        opened = {season: open_recording(folder / season) for season in SEASONS}
        return {s: each for s, each in opened.items() if isinstance(each, FolderRecording)}

    def _with_odometry(self, season: str, seed: int) -> Recording:
        recording = self._recordings[season]
        truth = self._truth(season)
        odometry, origin = derived_from(truth, self.noise, seed, truth.stamps, season)
        return replace(recording, odometry=odometry, odometry_origin=origin)

    def _truth(self, season: str) -> Trajectory:
        return require_ground_truth(self._recordings[season])

    def _segmenter(self, network: Path) -> Segmenter:
        # Half-size images: as large as the network was trained on.
        settings = SegmenterSettings(shrink=2, threads=self.threads, device="cpu")
        return Segmenter(load_checkpoint(network), settings)

    def _trained(self, half: Half) -> Path:
        """Network that was trained on a half of the line."""
        pairs = self.work / "pairs" / half.name
        if not pairs.exists():
            images = {s: self._recordings[s] for s in SEASONS}
            write_half(pairs, half, images, self._extractor("xfeat"), self._map_settings("xfeat"))
        output = self.work / "networks" / f"{half.name}-{self.label_count}-{self.iterations}"
        settings = TrainSettings(
            pairs, output, init=PACKAGED_CHECKPOINT.with_suffix(".safetensors")
        )
        settings = override(settings, load_yaml(RECIPE), RECIPE.name)
        return trained_once(
            replace(
                settings,
                label_count=self.label_count,
                iterations=self.iterations,
                validate_every=self.iterations,
                threads=self.threads,
                workers=0,
                device="cpu",
            )
        )

    def _draw_points(self) -> None:
        """Map points of spring in photographs of winter, in --work."""
        segmenter = self._segmenter(PACKAGED_CHECKPOINT)
        semantic_map = load_map(self._map("spring", "xfeat", PACKAGED_CHECKPOINT))
        labels = segmented_once(
            self._recordings["winter"], segmenter, self._labels("winter", segmenter)
        )
        draw_points(self.work / "pictures", self._recordings["winter"], semantic_map, labels)

    def _note(self) -> str:
        return (
            f"{self.seeds} seeds; start {self.start.offset_m:g} m and {self.start.offset_deg:g} "
            f"deg off, its frame left out; odometry {self.noise.in_words()}. Medians and 95 % "
            "quantiles of absolute errors, frames of all runs pooled. Trained networks are judged "
            "on the half that they were not trained on. Lost: above 2 m in the last second."
        )


def _other(season: str) -> str:
    return SEASONS[1 - SEASONS.index(season)]


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    tyro.cli(NordlandDrive, description=__doc__).run()
