"""A semantic map from a drive with known poses: structure from its tracks, labels by vote."""

import contextlib
import logging
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from fgsn_ros.config import require
from fgsn_ros.errors import MapError
from fgsn_ros.geometry import poses
from fgsn_ros.geometry.cameras import CameraMount
from fgsn_ros.lookahead import read_ahead
from fgsn_ros.mapping.blocks import Blocks, LabelledView, LabelledViews
from fgsn_ros.mapping.descriptors import ImageFeatures
from fgsn_ros.mapping.feature_builder import FeatureBuilder, LocalFeatureSettings
from fgsn_ros.mapping.labelling import VotingRules, cast_votes, winners
from fgsn_ros.mapping.map_files import MAP_FOLDER, MapWriter, load_map
from fgsn_ros.mapping.map_records import (
    FloatArray,
    MapPoints,
    Records,
    TiledRecords,
    check_keyframes,
    check_points,
    decoded_poses,
    tiled_records,
)
from fgsn_ros.mapping.semantic_map import SemanticMap
from fgsn_ros.mapping.structure import (
    MotionGate,
    PosedFrame,
    PosedTracks,
    Reconstruction,
    StructureSettings,
    posed_frames,
)
from fgsn_ros.outputs import whole_folder
from fgsn_ros.recordings.recording import Frame, Recording
from fgsn_ros.segmentation.checkpoint import Checkpoint
from fgsn_ros.segmentation.labels import LabelMap
from fgsn_ros.segmentation.segmenter import Segmenter

Labels = Callable[[Frame], LabelMap]

_IMAGES_AHEAD = 4
_LABELS_AHEAD = 2
_FRAMES_TOGETHER = 32
"""Tracks that ended are triangulated together after so many images."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class MapSettings:
    """How a map is built."""

    keyframe_spacing_m: float = 0.5
    """Distance between labelled images of a camera, and between key frames [m]. > 0."""
    keyframe_turn_deg: float = 5.0
    """Turn that makes a key frame before keyframe_spacing_m is reached [deg]. > 0."""
    range_factor: float = 1.5
    """Images vote for a point from this factor outside its observed ranges. >= 1."""
    view_angle_deg: float = 40.0
    """Images vote for a point up to this angle from its mean viewing direction [deg]. 0 to 180."""
    projected_weight: float = 0.5
    """Weight of an image that sees a point by projection alone, so perhaps hidden. 0 to 1."""
    min_agreement: float = 0.2
    """Points whose label has a smaller share of the votes are dropped. 0 to 1."""
    min_stationary: float | None = 0.5
    """Labels with a smaller share on stationary structure are dropped; None keeps all. 0 to 1."""
    tile_size_m: float = 10.0
    """Side of the map's tiles [m]. > 0."""
    structure: StructureSettings = field(default_factory=StructureSettings)
    local_features: LocalFeatureSettings = field(default_factory=LocalFeatureSettings)

    def __post_init__(self) -> None:
        """Check the ranges."""
        require(self.keyframe_spacing_m > 0.0, "keyframe_spacing_m must be above 0")
        require(self.keyframe_turn_deg > 0.0, "keyframe_turn_deg must be above 0")
        require(self.range_factor >= 1.0, "range_factor must be at least 1")
        require(0.0 <= self.view_angle_deg <= 180.0, "view_angle_deg must be in 0..180")
        require(0.0 <= self.projected_weight <= 1.0, "projected_weight must be in 0..1")
        require(0.0 <= self.min_agreement <= 1.0, "min_agreement must be in 0..1")
        require(
            self.min_stationary is None or 0.0 <= self.min_stationary <= 1.0,
            "min_stationary must be in 0..1",
        )
        require(self.tile_size_m > 0.0, "tile_size_m must be above 0")

    def keyframe_gate(self) -> MotionGate:
        """Passes poses at the spacing of key frames."""
        return MotionGate(self.keyframe_spacing_m, self.keyframe_turn_deg)

    @property
    def voting(self) -> VotingRules:
        """Which points an image votes for."""
        angle = float(np.radians(self.view_angle_deg))
        return VotingRules(self.range_factor, angle, self.projected_weight)


def write_map(
    folder: Path,
    recording: Recording,
    segmenter: Segmenter,
    settings: MapSettings | None = None,
    overwrite: bool = False,
) -> SemanticMap:
    """Write the map of a recording, in the frame of its ground-truth poses T_map_base.

    Memory holds what the robot can see from where it is: points and labels are put aside beside
    the map. Reading, labelling, tracking and triangulation overlap, each in a thread.

    Raises:
        RecordingError: the recording has no ground truth, or a frame cannot be read.
        MapError: no point could be triangulated, or none passed the label tests.
        OutputError: the folder exists (without overwrite) or cannot be written.
    """
    with whole_folder(folder, MAP_FOLDER, overwrite) as temporary:
        _write(temporary, recording, segmenter, settings or MapSettings())
    return load_map(folder)


def build_map(
    recording: Recording, segmenter: Segmenter, settings: MapSettings | None = None
) -> SemanticMap:
    """The map of a recording as `write_map` writes it, in memory."""
    with tempfile.TemporaryDirectory() as folder:
        _write(Path(folder), recording, segmenter, settings or MapSettings())
        return load_map(Path(folder)).in_memory()


def _write(folder: Path, recording: Recording, segmenter: Segmenter, settings: MapSettings) -> None:
    scratch = folder / "building"
    scratch.mkdir()
    with contextlib.ExitStack() as stack:
        stack.callback(shutil.rmtree, scratch)
        blocks = Blocks(scratch, settings.tile_size_m, segmenter.label_count)
        stack.callback(blocks.close)
        features = feature_builder(scratch, recording.cameras, segmenter, settings)
        if features is not None:
            stack.callback(features.close)

        def labels(frame: Frame) -> LabelMap:
            return segmenter.segment(frame.image)

        label_drive(blocks, recording, labels, settings, scratch, features)
        write_blocks(folder, blocks, segmenter.checkpoint, settings, features)
        if features is not None:
            count = features.write(folder, segmenter.checkpoint, settings.min_stationary)
            _log.info("%d points with descriptors", count)


def label_drive(
    blocks: Blocks,
    recording: Recording,
    labels: Labels,
    settings: MapSettings,
    scratch: Path,
    features: FeatureBuilder | None = None,
) -> None:
    """Add a drive's points and key frames to blocks, and let its images vote for all points there.

    Raises:
        RecordingError: the recording has no ground truth, or a frame cannot be read.
        MapError: no point could be triangulated.
    """
    with contextlib.closing(LabelledViews(scratch / "views")) as views:
        drive = _Drive(recording, labels, settings, blocks, views, features)
        for tracks in read_ahead(drive.tracks(), 2):
            blocks.add(drive.reconstruction.points(tracks))
        drive.reconstruction.warn_of_failures(recording.name)
        if drive.reconstruction.accepted == 0:
            raise MapError(
                f"{recording.name}: no point could be triangulated from "
                f"{drive.reconstruction.frame_count} frames; check that the poses and the "
                "camera's calibration belong to the images"
            )
        bar = tqdm(views, desc="labelling", unit="frame", total=len(views))
        cast_votes(blocks, bar, recording.cameras, settings.voting)


def feature_builder(
    scratch: Path,
    cameras: Mapping[str, CameraMount],
    segmenter: Segmenter,
    settings: MapSettings,
    across_cameras: bool = False,
) -> FeatureBuilder | None:
    """What gathers the local features (see `FeatureBuilder`), if the map shall have any."""
    if settings.local_features.kind == "none":
        return None
    return FeatureBuilder(
        scratch,
        cameras,
        segmenter.label_count,
        settings.local_features.kind,
        settings.local_features,
        settings.structure,
        settings.tile_size_m,
        across_cameras,
    )


class _Drive:
    """A drive's images, each step with them in a thread of its own."""

    def __init__(
        self,
        recording: Recording,
        labels: Labels,
        settings: MapSettings,
        blocks: Blocks,
        views: LabelledViews,
        features: FeatureBuilder | None,
    ) -> None:
        self.reconstruction = Reconstruction(recording.cameras, settings.structure)
        self._recording = recording
        self._labels = labels
        self._settings = settings
        self._views = views
        self._keyframes = KeyFrames(blocks, settings.keyframe_gate())
        self._features = features

    def tracks(self) -> Iterator[list[PosedTracks]]:
        """Tracks as they end; views and key frames are put aside on the way."""
        spacing = self._settings.structure.frame_spacing_m, self._settings.structure.frame_turn_deg
        frames = read_ahead(posed_frames(self._recording, *spacing, "tracking"), _IMAGES_AHEAD)
        described = read_ahead(self._described(frames), _LABELS_AHEAD)
        labelled = read_ahead(self._labelled(described), _LABELS_AHEAD)
        for count, (posed, features, label_map) in enumerate(labelled, 1):
            number = self.reconstruction.add(posed)
            if self._features is not None and features is not None:
                self._features.add(posed, features, label_map)
            if label_map is not None:
                camera = posed.frame.camera
                T_base_camera = self._recording.cameras[camera].T_base_camera
                T_map_camera = poses.compose(posed.T_map_base, T_base_camera)
                self._views.add(LabelledView(number, camera, T_map_camera, label_map))
                self._keyframes.add(posed.T_map_base, label_map)
            if count % _FRAMES_TOGETHER == 0:
                self._put_features_aside()
                yield self.reconstruction.take_ended()
        self._keyframes.close()
        self._put_features_aside(all_of_them=True)
        yield self.reconstruction.tracks()

    def _put_features_aside(self, all_of_them: bool = False) -> None:
        if self._features is not None:
            self._features.put_aside(all_of_them)

    def _described(
        self, frames: Iterator[PosedFrame]
    ) -> Iterator[tuple[PosedFrame, ImageFeatures | None]]:
        """Frames, with their local features if the map shall have any."""
        for posed in frames:
            if self._features is None:
                yield posed, None
            else:
                yield posed, self._features.extract(posed.frame.image)

    def _labelled(
        self, frames: Iterator[tuple[PosedFrame, ImageFeatures | None]]
    ) -> Iterator[tuple[PosedFrame, ImageFeatures | None, LabelMap | None]]:
        """Frames, with labels where their camera has moved on."""
        gates = {name: self._settings.keyframe_gate() for name in self._recording.cameras}
        for posed, features in frames:
            passes = gates[posed.frame.camera].passes(posed.T_map_base)
            label_map = self._labels(posed.frame) if passes else None
            yield posed, features, label_map


class KeyFrames:
    """Adds up the labels that are seen from each key frame until the next."""

    def __init__(self, blocks: Blocks, gate: MotionGate) -> None:
        self._blocks = blocks
        self._gate = gate
        self._T_map_base: FloatArray | None = None
        self._counts = np.zeros(blocks.label_count)

    def add(self, T_map_base: FloatArray, label_map: LabelMap) -> None:
        """Add a labelled image, of the key frame that it begins or of the last."""
        if self._gate.passes(T_map_base):
            self.close()
            self._T_map_base, self._counts = T_map_base, np.zeros(label_map.label_count)
        self._counts += _label_counts(label_map)

    def close(self) -> None:
        """Put the last key frame aside."""
        if self._T_map_base is not None:
            self._blocks.add_keyframe(self._T_map_base, self._counts / max(self._counts.sum(), 1.0))


def _label_counts(label_map: LabelMap) -> FloatArray:
    labelled = label_map.labels[label_map.labels < label_map.label_count]
    return np.bincount(labelled, minlength=label_map.label_count).astype(np.float64)


def write_blocks(
    folder: Path,
    blocks: Blocks,
    checkpoint: Checkpoint,
    settings: MapSettings,
    features: FeatureBuilder | None = None,
) -> None:
    """Write the points that pass the label tests, and the key frames, into a map's folder.

    With the points of the local features, if the settings say so.

    Raises:
        MapError: none passes.
    """
    writer = MapWriter(folder, blocks.label_count, checkpoint.fingerprint, settings.tile_size_m)
    if not settings.local_features.among_points:
        features = None
    keys = set(blocks.keys).union(features.keys if features is not None else ())
    for key in sorted(keys):
        points, believed = labelled_points(blocks, key, checkpoint.stationary, settings)
        points = points[believed]
        if features is not None:
            described, _ = features.block(key, checkpoint, settings.min_stationary)
            agreed = described.points.confidence >= settings.min_agreement
            points = MapPoints.joined([points, described.points[agreed]])
        writer.add(checked_tiles(points, blocks.keyframes(key), settings.tile_size_m))
    writer.close()
    _log.info("%d of %d triangulated points kept", writer.point_count, blocks.point_count)
    if writer.point_count == 0:
        raise MapError(
            f"none of {blocks.point_count} points passed the label tests; lower min_agreement or "
            "min_stationary, or train the network further"
        )


def checked_tiles(points: MapPoints, keyframes: Records, tile_size_m: float) -> TiledRecords:
    """Points and records of key frames, checked, ordered by tile and packed.

    Raises:
        MapError: a value is not finite or impossible.
    """
    shares = keyframes["shares"].astype(np.float64)
    T_map_base = decoded_poses(keyframes)
    check_points(points, shares.shape[1])
    check_keyframes(T_map_base, shares)
    return tiled_records(points, T_map_base, shares, tile_size_m)


def labelled_points(
    blocks: Blocks, key: int, stationary: NDArray[np.float32] | None, settings: MapSettings
) -> tuple[MapPoints, NDArray[np.bool_]]:
    """The points (P,) of a block with the labels that won, and whether these are believed (P,)."""
    points = blocks.points(key)
    labels, confidence = winners(blocks, key)
    kept = (confidence > 0.0) & (confidence >= settings.min_agreement)
    if stationary is not None and settings.min_stationary is not None:
        kept &= stationary[labels] >= settings.min_stationary
    voted = MapPoints(
        points["position"],
        labels,
        confidence,
        points["direction"],
        points["range"][:, 0],
        points["range"][:, 1],
    )
    return voted, kept
