"""Checks of what a map holds."""

import numpy as np
from numpy.typing import NDArray

from fgsn_ros.errors import MapError
from fgsn_ros.mapping.map_records import FloatArray, MapPoints

MAX_COORDINATE_M = 1e5
"""Beyond it float32 coordinates are coarser than 8 mm."""


def require_whole(condition: bool, what: str) -> None:
    """Raise MapError, which says what is damaged, unless a condition holds."""
    if not condition:
        raise MapError(f"the map is damaged: {what}; build it again with `fgsn map`")


def check_points(points: MapPoints, label_count: int) -> None:
    """Check points before they are stored.

    Raises:
        MapError: the arrays contradict each other or hold invalid values.
    """
    count = len(points.points)
    for name in ("points", "directions"):
        shape = getattr(points, name).shape
        require_whole(shape == (count, 3), f"{name} is {shape}, not {(count, 3)}")
    for name in ("labels", "confidence", "min_range", "max_range"):
        shape = getattr(points, name).shape
        require_whole(shape == (count,), f"{name} is {shape}, not {(count,)}")
    require_whole(0 < label_count < 65535, f"label count {label_count} is not in 1..65534")
    for name in ("points", "confidence", "directions", "min_range", "max_range"):
        finite = bool(np.isfinite(getattr(points, name)).all())
        require_whole(finite, f"{name} has a value not finite")
    if count:
        _check_values(points, label_count)


def _check_values(points: MapPoints, label_count: int) -> None:
    if float(np.abs(points.points).max()) > MAX_COORDINATE_M:
        raise MapError(
            f"map coordinates exceed {MAX_COORDINATE_M:.0f} m, too far for float32; "
            "subtract an origin from the poses"
        )
    labels, confidence = points.labels, points.confidence
    require_whole(
        int(labels.min()) >= 0 and int(labels.max()) < label_count,
        "a label is not below the label count",
    )
    require_whole(
        bool((confidence >= 0.0).all() and (confidence <= 1.0).all()),
        "a confidence is outside [0, 1]",
    )
    norms = np.linalg.norm(points.directions, axis=1)
    require_whole(
        bool((np.abs(norms - 1.0) < 1e-3).all()), "a viewing direction is not of length 1"
    )
    require_whole(
        bool((points.min_range > 0.0).all() and (points.min_range <= points.max_range).all()),
        "a point's ranges are not 0 < min <= max",
    )


def check_keyframes(T_map_base: FloatArray, shares: NDArray[np.floating]) -> None:
    """Check poses (F, 4, 4) and label shares (F, K) of key frames.

    Raises:
        MapError: a value is not finite, a pose not rigid or too far, a share negative.
    """
    require_whole(
        T_map_base.shape == (len(shares), 4, 4) and shares.ndim == 2,
        f"keyframe_poses is {T_map_base.shape}, keyframe_histograms {shares.shape}",
    )
    require_whole(bool(np.isfinite(T_map_base).all()), "a key frame's pose is not finite")
    rotations = T_map_base[:, :3, :3]
    products = rotations @ np.swapaxes(rotations, 1, 2)
    rigid = (
        np.allclose(products, np.eye(3), atol=1e-4)
        and bool((np.linalg.det(rotations) > 0.0).all())
        and bool((T_map_base[:, 3] == (0.0, 0.0, 0.0, 1.0)).all())
    )
    require_whole(rigid, "a key frame's pose is not a rigid transform")
    require_whole(
        bool(np.isfinite(shares).all() and (shares >= 0.0).all()),
        "a key frame's label histogram has a negative or not finite value",
    )
