"""Similarities: motions with a change of scale, fitted to pairs of points and kept in files."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fgsn_ros.documents import parse_json
from fgsn_ros.errors import FgsnError, RecordingError
from fgsn_ros.geometry import poses
from fgsn_ros.text_files import read_text

FloatArray = NDArray[np.float64]
Mask = NDArray[np.bool_]

_MOST_BYTES = 1 << 16
_ROTATION_TOLERANCE = 1e-3
_TRIALS = 500
_JUDGES = 2000
"""Most pairs that a trial is judged by."""
_FAR = 2.19
"""Times the median: 99 % of normally distributed offsets in space are as short."""
_SMALLEST_SCALE, _LARGEST_SCALE = 1e-9, 1e9
_FORM = (
    'JSON {"scale": s, "rotation": 3x3, "translation": [x, y, z]}, or the 8 numbers '
    "'scale qw qx qy qz tx ty tz'"
)


@dataclass(frozen=True, eq=False)
class Similarity:
    """x -> scale R x + t, from one frame's coordinates to another's."""

    scale: float
    R: FloatArray
    """(3, 3)"""
    t: FloatArray
    """(3,)"""

    def points(self, points: FloatArray) -> FloatArray:
        """Points (N, 3) in the other frame."""
        moved: FloatArray = self.scale * points @ self.R.T + self.t
        return moved

    def poses(self, T: FloatArray) -> FloatArray:
        """Poses (N, 4, 4) of things in the other frame."""
        return poses.from_rotation_translation(self.R @ T[:, :3, :3], self.points(T[:, :3, 3]))


def fitted(source: FloatArray, target: FloatArray) -> Similarity:
    """The similarity that takes points (N, 3) to others (N, 3) with the least squares.

    Umeyama, "Least-squares estimation of transformation parameters between two point patterns",
    PAMI 1991, eq. 40 to 42. Where the points lie on a line, the turn about it is any.
    """
    scale, R, t = _umeyama(source[None], target[None])
    return Similarity(float(scale[0]), R[0], t[0])


def _umeyama(source: FloatArray, target: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Scales (B,), rotations (B, 3, 3) and translations (B, 3) of sets of points (B, N, 3)."""
    from_mean, to_mean = source.mean(axis=1), target.mean(axis=1)
    x, y = source - from_mean[:, None], target - to_mean[:, None]
    u, d, vt = np.linalg.svd(np.einsum("bni,bnj->bij", y, x))
    mirrored = np.linalg.det(u) * np.linalg.det(vt) < 0.0
    signs = np.ones((len(x), 3))
    signs[mirrored, 2] = -1.0
    R = (u * signs[:, None]) @ vt
    scale = (d * signs).sum(axis=1) / np.maximum((x**2).sum(axis=(1, 2)), 1e-300)
    return scale, R, to_mean - scale[:, None] * np.einsum("bij,bj->bi", R, from_mean)


def robustly_fitted(
    source: FloatArray, target: FloatArray, rng: np.random.Generator
) -> tuple[Similarity, Mask]:
    """The similarity that most pairs of points (N, 3), N >= 3, agree on, and which do (N,).

    Least median of squares over triples of pairs (Rousseeuw, "Least median of squares regression",
    JASA 1984, with a rank for few pairs in place of the median's), then least squares over those
    that errors of a normal distribution leave as near as 99 % of them. Fewer than half of the pairs
    may be wrong.
    """
    count = len(source)
    triples = rng.integers(0, count, (_TRIALS, 3))
    scale, R, t = _umeyama(source[triples], target[triples])
    judges = np.linspace(0, count - 1, min(count, _JUDGES)).astype(np.int64)
    best, least = 0, np.inf
    for trial in range(_TRIALS):
        tried = Similarity(float(scale[trial]), R[trial], t[trial])
        median = _middle(_distances(tried, source[judges], target[judges]))
        if median < least:
            best, least = trial, median
    found = Similarity(float(scale[best]), R[best], t[best])
    for _ in range(3):
        distances = _distances(found, source, target)
        limit = _FAR * (1.0 + 5.0 / max(count - 3, 1)) * _middle(distances)
        agree: Mask = distances <= max(limit, 1e-9 * float(np.abs(target).max()))
        found = fitted(source[agree], target[agree])
    return found, agree


def _middle(distances: FloatArray) -> float:
    """The distance that so many are below that three pairs and chance do not make it small."""
    rank = min(len(distances), len(distances) // 2 + 2)
    return float(np.partition(distances, rank - 1)[rank - 1])


def _distances(similarity: Similarity, source: FloatArray, target: FloatArray) -> FloatArray:
    distances: FloatArray = np.linalg.norm(similarity.points(source) - target, axis=1)
    return distances


def read_similarity(path: Path) -> Similarity:
    """Read a similarity: JSON as `similarity_text` writes it, or COLMAP's text of 8 numbers.

    Raises:
        RecordingError: the file cannot be read or holds none.
    """
    try:
        text = read_text(path, _MOST_BYTES)
        is_json = text.lstrip().startswith("{")
        scale, R, t = _of_json(parse_json(text)) if is_json else _of_numbers(text)
        orthogonal = np.abs(R @ R.T - np.eye(3)).max() < _ROTATION_TOLERANCE
        if not (orthogonal and np.linalg.det(R) > 0.0):
            raise ValueError("its rotation is none")
        if not (_SMALLEST_SCALE < scale < _LARGEST_SCALE and np.isfinite(t).all()):
            raise ValueError(f"a scale of {scale:g}, or its translation, is absurd")
    except (OSError, ValueError, FgsnError) as error:
        reason = " ".join(str(error).split())
        raise RecordingError(f"{path} is no similarity, {_FORM}: {reason}") from error
    _, q_xyzw = poses.to_quaternion(poses.from_rotation_translation(R, t))
    return Similarity(scale, poses.from_quaternion(t, q_xyzw)[:3, :3], t)  # rounding made good


def _of_json(content: object) -> tuple[float, FloatArray, FloatArray]:
    values = content if isinstance(content, dict) else {}
    try:
        scale = float(values["scale"])
        R, t = (np.array(values[name], np.float64) for name in ("rotation", "translation"))
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{error} is missing or no number") from error
    if R.shape != (3, 3) or t.shape != (3,):
        raise ValueError("rotation takes 3 rows of 3 numbers, translation 3")
    return scale, R, t


def _of_numbers(text: str) -> tuple[float, FloatArray, FloatArray]:
    numbers = [float(word) for word in text.split()]
    if len(numbers) != 8:
        raise ValueError(f"it holds {len(numbers)} numbers")
    scale, w, x, y, z, *t = numbers
    return scale, poses.from_quaternion(t, (x, y, z, w))[:3, :3], np.array(t)


def similarity_text(similarity: Similarity, **more: object) -> str:
    """JSON that `read_similarity` reads, with more values that it does not."""
    content = {
        "scale": similarity.scale,
        "rotation": similarity.R.tolist(),
        "translation": similarity.t.tolist(),
    }
    return json.dumps({**content, **more}, indent=1) + "\n"
