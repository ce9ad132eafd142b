"""Where a COLMAP model lies in the map: by a similarity, by GPS, or, said, as its images stand."""

import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fgsn_ros.errors import RecordingError
from fgsn_ros.geometry import poses
from fgsn_ros.geometry.geodesy import east_north_up
from fgsn_ros.geometry.similarity import Similarity, read_similarity, robustly_fitted
from fgsn_ros.left_out import LeftOut
from fgsn_ros.recordings.benchmark_lists import listed_lines

FloatArray = NDArray[np.float64]

_LEVEL_DEG = 45.0
"""A model whose images' mean up is this near to its z axis is one whose z axis points up."""
_LEAST_AGREEMENT = 0.5
"""Length of the mean of the images' up directions below which they have none in common."""
_FEWEST_FIXES = 3
_WORST_SHARE = 0.3
"""Of the spread of GPS positions; a fit with a larger residual is none."""
_LOOSEST_ROLL = 0.1
"""Residual over the positions' second spread, about the error [rad] of the turn about their line,
beyond which GPS does not say that turn."""
_LINE = 1e-3
"""Second over first spread below which exact positions count as a line, too."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class PosedViews:
    """The images of a model as its frame is found by them."""

    names: tuple[str, ...]
    centres: FloatArray
    """(N, 3) of the cameras, in the model"""
    up: FloatArray
    """(N, 3) z axes of base_link, in the model"""


@dataclass(frozen=True, eq=False)
class MapFrame:
    """How the map's frame lies to a model's."""

    similarity: Similarity
    """from the model to the map"""
    origin: tuple[float, ...] | None = None
    """latitude, longitude [deg] and altitude [m] of the map's origin; axes are east, north, up"""
    fit: str = ""
    """how well GPS fits, in words"""


def frame_by_similarity(views: PosedViews, path: Path) -> MapFrame:
    """The similarity of a file, from the model to the map.

    Raises:
        RecordingError: the file holds none.
    """
    similarity = read_similarity(path)
    _warn_of_tilt(views, similarity)
    return MapFrame(similarity)


def frame_of_itself(views: PosedViews) -> MapFrame:
    """The model's own scale; its own axes if z points up, else turned as its images stand. Says so.

    Raises:
        RecordingError: no common up direction can be found.
    """
    mean = views.up.mean(axis=0)
    agreement = float(np.linalg.norm(mean))
    if agreement < _LEAST_AGREEMENT:
        raise RecordingError(
            "the model's images have no up direction in common to level the map by; give a "
            "similarity (--similarity) or GPS positions (--gps)"
        )
    up = mean / agreement
    tilt = np.degrees(np.arccos(np.clip(up[2], -1.0, 1.0)))
    own_axes = tilt <= _LEVEL_DEG
    _log.warning(
        "the map has the model's own scale (settings in metres count in its units) and %s; "
        "--similarity or --gps make it metric and level",
        f"axes (its images' mean up is {tilt:.0f} deg off its z)"
        if own_axes
        else f"is turned so that its z is its images' mean up (it was {tilt:.0f} deg off)",
    )
    R = np.eye(3) if own_axes else _turn(up, np.eye(3)[2])
    return MapFrame(Similarity(1.0, R, np.zeros(3)))


def _turn(start: FloatArray, end: FloatArray) -> FloatArray:
    """The shortest rotation (3, 3) of a unit vector (3,) to another."""
    axis = np.cross(start, end)
    length = float(np.linalg.norm(axis))
    if length < 1e-9:
        axis, length = np.cross(start, np.eye(3)[np.argmin(np.abs(start))]), 1.0
        axis /= np.linalg.norm(axis)
    angle = np.arctan2(np.linalg.norm(np.cross(start, end)), start @ end)
    R: FloatArray = poses.exp(np.concatenate([np.zeros(3), axis / length * angle]))[:3, :3]
    return R


def frame_by_gps(views: PosedViews, path: Path) -> MapFrame:
    """The similarity that takes the model to east, north, up [m] from the first image's position.

    The file has lines `image_name lat lon alt`, in degrees and metres (WGS 84). Where the positions
    lie on a line, the turn about it is such that images stand upright.

    Raises:
        RecordingError: the file cannot be read, has fewer than three positions of the model's
            images, or does not fit them.
    """
    known = _read_fixes(path)
    chosen = [i for i, name in enumerate(views.names) if name in known]
    if len(chosen) < _FEWEST_FIXES:
        raise RecordingError(
            f"{path} has positions of {len(chosen)} of the model's {len(views.names)} images, such "
            f"as {views.names[0]}; {_FEWEST_FIXES} are the fewest"
        )
    fixes = np.array([known[views.names[i]] for i in chosen])
    target, source = east_north_up(fixes, fixes[0]), views.centres[chosen]
    found, agree = robustly_fitted(source, target, np.random.default_rng(0))
    errors = np.linalg.norm(found.points(source) - target, axis=1)[agree]
    residual = float(np.sqrt(np.mean(errors**2)))
    spread = _spread(target[agree])
    if spread[0] <= 0.0 or not residual <= _WORST_SHARE * spread[0]:
        raise RecordingError(
            f"{path} does not fit the model: {residual:.3g} m (RMS) at positions that spread by "
            f"{spread[0]:.3g} m"
        )
    if residual > _LOOSEST_ROLL * spread[1] or spread[1] < _LINE * spread[0]:
        found = _upright(found, views, source[agree])
    _warn_of_tilt(views, found)
    fit = (
        f"GPS: {len(errors)} of {len(chosen)} positions fit with {residual:.3g} m (RMS, the worst "
        f"{errors.max():.3g} m), {found.scale:.6g} m are a unit of the model"
    )
    return MapFrame(found, tuple(fixes[0].tolist()), fit)


def _spread(positions: FloatArray) -> FloatArray:
    """Standard deviations (3,) of positions (N, 3) along their principal axes, descending."""
    offsets = positions - positions.mean(axis=0)
    return np.asarray(
        np.sqrt(np.maximum(np.linalg.eigvalsh(offsets.T @ offsets)[::-1], 0.0))
        / (np.sqrt(len(positions)))
    )


def _read_fixes(path: Path) -> dict[str, tuple[float, float, float]]:
    lines = listed_lines(path)
    known: dict[str, tuple[float, float, float]] = {}
    with LeftOut(str(path), "lines 'image_name lat lon alt'", len(lines)) as left_out:
        for number, words in lines:
            name, fix = " ".join(words[:-3]), _fix(words[-3:])
            if not name or fix is None or name in known:
                reason = "with a name that was there before" if name in known else "of another form"
                left_out.drop(reason, f"line {number}")
                continue
            known[name] = fix
            left_out.keep()
    return known


def _fix(words: list[str]) -> tuple[float, float, float] | None:
    try:
        latitude, longitude, altitude = (float(word) for word in words)
    except ValueError:
        return None
    inside = abs(latitude) <= 90.0 and abs(longitude) <= 360.0 and abs(altitude) <= 1e5
    return (latitude, longitude, altitude) if inside else None


def _upright(found: Similarity, views: PosedViews, centres: FloatArray) -> Similarity:
    """Turned about the line of the model's centres (N, 3) so that images stand upright. Says so.

    Raises:
        RecordingError: the line is upright itself.
    """
    in_map = found.points(centres)
    middle = in_map.mean(axis=0)
    axis = np.linalg.svd(in_map - middle, full_matrices=False)[2][0]
    across = np.eye(3) - np.outer(axis, axis)
    up, z = across @ found.R @ views.up.mean(axis=0), across @ np.eye(3)[2]
    if min(np.linalg.norm(up), np.linalg.norm(z)) < 0.1:
        raise RecordingError(
            "the GPS positions lie on a line about which the images do not say how the model is "
            "turned; give a similarity (--similarity)"
        )
    R = _turn(up / np.linalg.norm(up), z / np.linalg.norm(z))
    _log.warning(
        "the GPS positions lie nearly on a line: about it the map is turned so that the images "
        "stand upright"
    )
    return Similarity(found.scale, R @ found.R, R @ (found.t - middle) + middle)


def _warn_of_tilt(views: PosedViews, similarity: Similarity) -> None:
    """Say so where the map's z axis is not where the images' is."""
    up = similarity.R @ views.up.mean(axis=0)
    tilt = np.degrees(np.arctan2(np.hypot(up[0], up[1]), up[2]))
    if tilt > _LEVEL_DEG:
        _log.warning(
            "the images' mean up is %.0f deg off the map's z axis, which should point up; check "
            "the similarity or GPS file, and how the images stand",
            tilt,
        )
