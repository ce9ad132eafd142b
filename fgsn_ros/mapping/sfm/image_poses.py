"""Poses of images alone, without odometry and with or without a calibration: no scale is known."""

import dataclasses
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from fgsn_ros.config import require, require_extra
from fgsn_ros.errors import RecordingError
from fgsn_ros.geometry import poses
from fgsn_ros.geometry.cameras import T_BASE_OPTICAL, Camera
from fgsn_ros.geometry.trajectory import Trajectory
from fgsn_ros.mapping.descriptors import FeatureSettings
from fgsn_ros.mapping.sfm.global_model import (
    ImageModel,
    Pair,
    colmap,
    global_model,
    guessed_camera,
)
from fgsn_ros.mapping.sfm.image_matches import (
    ImageSequence,
    Matches,
    read_images,
    sequence_matches,
)
from fgsn_ros.mapping.sfm.keyframes import KeyFrame
from fgsn_ros.mapping.sfm.two_views import TwoViews, TwoViewSettings, verified
from fgsn_ros.mapping.structure import focal_px
from fgsn_ros.recordings.recording import Frame

FloatArray = NDArray[np.float64]
_FEWEST = 3
_ROUGH = 2.0
"""Errors that a guessed focal length is allowed, as a multiple of those of a calibration."""
_FEWEST_PAIRS = 0.2
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ImagePoseSettings:
    """How poses of images without odometry are made."""

    neighbours: tuple[int, ...] = (1, 2, 3, 4)
    """Images after each one that it is matched with. >= 1."""
    least_motion: float = 0.003
    """Median motion of the features against the image before, below which an image is left out,
    as a share of the width. >= 0."""
    focal_guesses: tuple[float, ...] = (0.6, 1.0, 1.6)
    """Focal lengths that are tried where there is no calibration, as shares of the longer side.
    Above 0.1, below 10."""
    features: FeatureSettings = field(default_factory=FeatureSettings)
    pairs: TwoViewSettings = field(default_factory=lambda: TwoViewSettings(min_matches=15))

    def __post_init__(self) -> None:
        """Check the ranges."""
        require(
            len(self.neighbours) > 0 and min(self.neighbours) >= 1,
            "neighbours must be 1 or more, at least one",
        )
        require(self.least_motion >= 0.0, "least_motion must be at least 0")
        require(
            len(self.focal_guesses) > 0
            and min(self.focal_guesses) > 0.1
            and max(self.focal_guesses) < 10.0,
            "focal_guesses must be above 0.1 and below 10, at least one",
        )


@dataclass(frozen=True, eq=False)
class PosedImages:
    """Images of one recording with poses of unknown scale."""

    name: str
    sequence: ImageSequence
    model: ImageModel
    """in the frame and the unit of the trajectory"""
    trajectory: Trajectory
    """T_map_base of the images that were placed, base_link at the camera. The map's z points up
    by a guess, its unit is the median step from image to image, its origin the first image."""
    estimated: bool
    """whether the calibration is an estimate"""
    focal_by_guess: dict[float, float]
    """focal length [px] that each guess [px] led to"""


def pose_images(
    frames: Iterable[Frame],
    frame_count: int,
    name: str,
    camera: Camera | None,
    settings: ImagePoseSettings,
) -> PosedImages:
    """Poses of images of one camera that moves, by structure from motion alone.

    Args:
        frames: By time.
        frame_count: Of them, about.
        name: Of the recording.
        camera: Its calibration, which is kept; None estimates focal length and k1.
        settings: How.

    Raises:
        RecordingError: the images stand still, or share too little.
        SettingsError: the extra `poses` is not installed.
    """
    require_extra("poses", "pycolmap")
    bar = tqdm(frames, name, frame_count, unit="image")
    ratio = settings.pairs.ratio_of("sift")
    sequence = read_images(bar, name, ratio, settings.least_motion, settings.features)
    if len(sequence) < _FEWEST:
        raise RecordingError(
            f"{name} stands still: of {sequence.frame_count} images {len(sequence)} moved against "
            f"the one before; poses need at least {_FEWEST}"
        )
    matches = sequence_matches(sequence, settings.neighbours, ratio, name)
    found: dict[float, float] = {}
    if camera is None:
        camera, found = _estimated(sequence, matches, name, settings)
    estimated = len(found) > 0
    model = _model(sequence, matches, camera, estimated, settings.pairs)
    if model is None:
        raise RecordingError(_apart(name, sequence, matches, settings.pairs.min_matches))
    model, T_map_base = _levelled(model)
    trajectory = Trajectory(sequence.stamps[model.images], T_map_base)
    return PosedImages(name, sequence, model, trajectory, estimated, found)


def _estimated(
    sequence: ImageSequence,
    matches: Mapping[Pair, Matches],
    name: str,
    settings: ImagePoseSettings,
) -> tuple[Camera, dict[float, float]]:
    """The calibration of the guess that explains most; what each guess led to.

    Raises:
        RecordingError: none makes a model.
    """
    rules = settings.pairs
    rough = dataclasses.replace(rules, max_error_px=_ROUGH * rules.max_error_px)
    best: ImageModel | None = None
    found = {}
    for share in settings.focal_guesses:
        guess = guessed_camera(sequence.size, share * max(sequence.size))
        model = _model(sequence, matches, guess, True, rough)
        if model is None:
            continue
        found[guess.fx] = model.camera.fx
        _log.info("%s: focal length %.0f px becomes %.0f", name, guess.fx, model.camera.fx)
        if best is None or _explained(model) > _explained(best):
            best = model
    if best is None:
        raise RecordingError(_apart(name, sequence, matches, rules.min_matches))
    return best.camera, found


def _explained(model: ImageModel) -> tuple[int, float]:
    """Images placed, then observations, each worth less the larger the error."""
    return len(model.images), model.observations / (1.0 + model.error_px**2)


def _model(
    sequence: ImageSequence,
    matches: Mapping[Pair, Matches],
    camera: Camera,
    refined: bool,
    rules: TwoViewSettings,
) -> ImageModel | None:
    frames = _calibrated(sequence, camera)
    views: dict[Pair, TwoViews] = {}
    for (i, j), (a, b) in matches.items():
        kept = frames[i].usable[a] & frames[j].usable[b]
        if kept.sum() < rules.min_matches:
            continue
        shared = verified(frames[i].frame, frames[j].frame, a[kept], b[kept], rules)
        if shared is not None:
            views[i, j] = shared
    if not views:
        return None
    pixels = [each.pixels for each in sequence.features]
    model = global_model(pixels, views, camera, refined, rules.max_error_px)
    return model if model is not None and len(model.images) >= _FEWEST else None


@dataclass(frozen=True, eq=False)
class _CalibratedImage:
    frame: KeyFrame
    usable: NDArray[np.bool_]
    """(M,) features whose pixel the calibration gives a ray."""


def _calibrated(sequence: ImageSequence, camera: Camera) -> list[_CalibratedImage]:
    images = []
    for stamp, found in zip(sequence.stamps.tolist(), sequence.features, strict=True):
        rays, valid = camera.unproject(found.pixels)
        pixels = found.pixels.astype(np.float64)
        focal = np.array(focal_px(camera, found.pixels))
        features = pixels, rays[:, :2], focal, found.descriptors
        images.append(_CalibratedImage(KeyFrame(stamp, "", np.eye(4), *features), valid))
    return images


def _apart(name: str, sequence: ImageSequence, matches: Mapping[Pair, Matches], fewest: int) -> str:
    following = [len(found[0]) for (i, j), found in matches.items() if j == i + 1]
    enough = sum(count >= fewest for count in following)
    return (
        f"{name}: no model could be made of its images; {enough} of {len(following)} pairs of "
        f"following images have {fewest} matches or more (median {int(np.median(following))}); "
        "they lack texture, are blurred or dark, too far apart, or the camera only turns"
    )


def _levelled(model: ImageModel) -> tuple[ImageModel, FloatArray]:
    """The model in a frame that is level by a guess, and T_map_base of its images."""
    T_old = model.T_world_camera
    R, scale = level(T_old), 1.0
    steps = np.linalg.norm(np.diff(T_old[:, :3, 3], axis=0), axis=1)
    if np.median(steps) > 0.0:
        scale = 1.0 / float(np.median(steps))
    shift = -scale * R @ T_old[0, :3, 3]
    T_map_camera = poses.from_rotation_translation(
        R @ T_old[:, :3, :3], scale * T_old[:, :3, 3] @ R.T + shift
    )
    pycolmap = colmap()
    moved = pycolmap.Sim3d(scale, pycolmap.Rotation3d(R), shift)
    model.reconstruction.transform(moved)
    turned = dataclasses.replace(model, T_world_camera=T_map_camera)
    return turned, poses.compose(T_map_camera, poses.invert(T_BASE_OPTICAL))


def level(T_world_camera: FloatArray) -> FloatArray:
    """Rotation (3, 3) of a world, in which cameras (N, 4, 4) are, to one that is level, x ahead.

    Level is the plane that holds the cameras' x axes (they do not roll) and their path best; ahead
    is where the first camera looks.
    """
    steps = np.diff(T_world_camera[:, :3, 3], axis=0)
    lengths = np.linalg.norm(steps, axis=1, keepdims=True)
    ways = steps[lengths[:, 0] > 0.0] / lengths[lengths[:, 0] > 0.0]
    across = T_world_camera[:, :3, 0]
    _, axes = np.linalg.eigh(across.T @ across / len(across) + ways.T @ ways / max(len(ways), 1))
    up = axes[:, 0] * np.sign(-axes[:, 0] @ T_world_camera[:, :3, 1].sum(axis=0))
    ahead = T_world_camera[0, :3, 2] - up * (up @ T_world_camera[0, :3, 2])
    ahead /= np.linalg.norm(ahead)
    return np.stack([ahead, np.cross(up, ahead), up])


def unplaced(posed: PosedImages) -> FloatArray:
    """Stamps (U,) [s] of the images that moved but were not placed."""
    kept = np.ones(len(posed.sequence), bool)
    kept[posed.model.images] = False
    return posed.sequence.stamps[kept]
