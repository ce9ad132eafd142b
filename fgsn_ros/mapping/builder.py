"""A semantic map from a drive with known poses: structure from its tracks, labels by vote."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from fgsn_ros.config import require
from fgsn_ros.errors import MapError
from fgsn_ros.geometry.cameras import Camera
from fgsn_ros.mapping.semantic_map import SemanticMap
from fgsn_ros.mapping.structure import (
    MotionGate,
    PosedFrame,
    Reconstruction,
    Structure,
    StructureSettings,
    posed_frames,
)
from fgsn_ros.mapping.votes import LabelledView, LabelVotes, Visibility, vote
from fgsn_ros.segmentation.labels import LabelMap
from fgsn_ros.segmentation.segmenter import Segmenter
from fgsn_ros.sequences.recording import CameraMount, Recording

_log = logging.getLogger(__name__)
FloatArray = NDArray[np.float64]


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


def build_map(
    recording: Recording, segmenter: Segmenter, settings: MapSettings | None = None
) -> SemanticMap:
    """Map of a recording, in the frame of its ground-truth poses T_map_base.

    Raises:
        RecordingError: the recording has no ground truth, or a frame cannot be read.
        MapError: no point could be triangulated, or none passed the label tests.
    """
    settings = settings or MapSettings()
    reconstruction = Reconstruction(recording.cameras, settings.structure)
    survey = _Survey(segmenter, settings)
    structure_settings = settings.structure
    for posed in posed_frames(
        recording, structure_settings.frame_spacing_m, structure_settings.frame_turn_deg, "mapping"
    ):
        survey.add(posed, reconstruction.add(posed))
    structure = reconstruction.structure()
    if len(structure.points) == 0:
        raise MapError(
            f"{recording.name}: no point could be triangulated from {len(structure.cameras)} "
            "frames; check that the poses and the camera's calibration belong to the images"
        )
    labels, confidence = _labelled(structure, survey.views, recording.cameras, settings)
    kept = _kept(labels, confidence, segmenter.checkpoint.stationary, settings)
    _log.info("%d of %d triangulated points kept", int(kept.sum()), len(kept))
    return SemanticMap.from_points(
        points=structure.points[kept],
        labels=labels[kept],
        confidence=confidence[kept],
        directions=structure.directions[kept],
        min_range=structure.min_range[kept],
        max_range=structure.max_range[kept],
        keyframe_poses=np.array(survey.keyframe_poses),
        keyframe_histograms=survey.keyframe_histograms(),
        fingerprint=segmenter.checkpoint.fingerprint,
        tile_size_m=settings.tile_size_m,
    )


class _Survey:
    """Labels of a drive's images at the spacing of key frames."""

    def __init__(self, segmenter: Segmenter, settings: MapSettings) -> None:
        self._segmenter = segmenter
        self._spacing = (settings.keyframe_spacing_m, settings.keyframe_turn_deg)
        self._gates: dict[str, MotionGate] = {}
        self._keyframe_gate = MotionGate(*self._spacing)
        self.views: list[LabelledView] = []
        self.keyframe_poses: list[FloatArray] = []
        self._counts: list[FloatArray] = []

    def add(self, posed: PosedFrame, number: int) -> None:
        """Label frame `number` of the structure if its camera has moved on."""
        gate = self._gates.setdefault(posed.frame.camera, MotionGate(*self._spacing))
        if not gate.passes(posed.T_map_base):
            return
        label_map = self._segmenter.segment(posed.frame.image)
        self.views.append(LabelledView(number, label_map))
        if self._keyframe_gate.passes(posed.T_map_base):
            self.keyframe_poses.append(posed.T_map_base)
            self._counts.append(np.zeros(label_map.label_count))
        self._counts[-1] += _label_counts(label_map)

    def keyframe_histograms(self) -> FloatArray:
        """(F, K) share of each label in the key frames' labelled cells."""
        counts = np.array(self._counts)
        shares: FloatArray = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1.0)
        return shares


def _label_counts(label_map: LabelMap) -> FloatArray:
    labelled = label_map.labels[label_map.labels < label_map.label_count]
    return np.bincount(labelled, minlength=label_map.label_count).astype(np.float64)


def _labelled(
    structure: Structure,
    views: list[LabelledView],
    mounts: Mapping[str, CameraMount],
    settings: MapSettings,
) -> tuple[NDArray[np.uint16], FloatArray]:
    votes = LabelVotes(views[0].label_map.label_count)
    visibility = Visibility(
        structure, settings.range_factor, float(np.radians(settings.view_angle_deg))
    )
    for view in tqdm(views, desc="labelling", unit="frame"):
        camera: Camera = mounts[structure.cameras[view.frame]].camera
        points, pixels, tracked = visibility.visible(view.frame, camera)
        weights = np.where(tracked, 1.0, settings.projected_weight)
        vote(votes, points, pixels, weights, view.label_map)
    return votes.winners(len(structure.points))


def _kept(
    labels: NDArray[np.uint16],
    confidence: FloatArray,
    stationary: NDArray[np.float32] | None,
    settings: MapSettings,
) -> NDArray[np.bool_]:
    kept = (confidence > 0.0) & (confidence >= settings.min_agreement)
    if stationary is not None and settings.min_stationary is not None:
        kept &= stationary[labels] >= settings.min_stationary
    if not kept.any():
        raise MapError(
            f"none of {len(labels)} points passed the label tests; lower min_agreement or "
            "min_stationary, or train the network further"
        )
    return kept
