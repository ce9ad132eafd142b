"""Sparse feature tracks over an image sequence: grid-spread corners and pyramidal Lucas-Kanade."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from fgsn_ros.config import require

Pixels = NDArray[np.float32]


@dataclass(frozen=True)
class TrackSettings:
    """How densely and how strictly features are tracked."""

    cell_px: int = 10
    """Side of the grid cells [px]; a cell without a live track gets a new one. 4 to 256."""
    max_live: int = 2600
    """Most live tracks per image; the cells grow until the image has no more of them. >= 16."""
    window_px: int = 11
    """Side of the Lucas-Kanade window [px], odd. 5 to 63."""
    levels: int = 4
    """Pyramid levels above the image itself. 0 to 8."""
    forward_backward_px: float = 0.7
    """Largest distance between a point and itself tracked forth and back [px]. > 0."""
    min_corner: float = 3e-5
    """Weakest new point, by OpenCV's cornerMinEigenVal of 5 x 5 px. Low, so that roads and facades
    get points: labels, not texture, are what the map is for. >= 0."""
    min_views: int = 3
    """Shortest track that is kept [images]. >= 2."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        require(4 <= self.cell_px <= 256, "cell_px must be in 4..256")
        require(self.max_live >= 16, "max_live must be at least 16")
        require(
            5 <= self.window_px <= 63 and self.window_px % 2 == 1,
            "window_px must be odd and in 5..63",
        )
        require(0 <= self.levels <= 8, "levels must be in 0..8")
        require(self.forward_backward_px > 0.0, "forward_backward_px must be above 0")
        require(self.min_corner >= 0.0, "min_corner must be at least 0")
        require(self.min_views >= 2, "min_views must be at least 2")


@dataclass(frozen=True)
class Tracks:
    """Observations of tracked points, ordered by track, then frame."""

    track: NDArray[np.int64]
    """(M,) track of each observation, 0..T-1, none left out."""
    frame: NDArray[np.int64]
    """(M,) frame of each observation."""
    pixels: Pixels
    """(M, 2) u, v [px]."""

    def __len__(self) -> int:
        """Number of tracks T."""
        return int(self.track[-1]) + 1 if len(self.track) else 0

    @property
    def starts(self) -> NDArray[np.int64]:
        """(T + 1,) first observation of each track, then M."""
        starts: NDArray[np.int64] = np.searchsorted(self.track, np.arange(len(self) + 1))
        return starts


def no_tracks() -> Tracks:
    """No observation at all."""
    return Tracks(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros((0, 2), np.float32))


def merged(parts: list[Tracks]) -> Tracks:
    """One set of tracks from several whose frames are numbered alike."""
    parts = parts or [no_tracks()]
    first = np.cumsum([0] + [len(part) for part in parts])
    return Tracks(
        np.concatenate([p.track + f for p, f in zip(parts, first, strict=False)]),
        np.concatenate([part.frame for part in parts]),
        np.concatenate([part.pixels for part in parts]),
    )


_Observations = tuple[NDArray[np.int64], int, Pixels]
"""Ids (N,) of the tracks that a frame shows, its number, and where (N, 2)."""


class FeatureTracker:
    """Tracks points of one camera from image to image, with new points where there are none."""

    def __init__(self, settings: TrackSettings) -> None:
        self._settings = settings
        self._previous: NDArray[np.uint8] | None = None
        self._live = np.zeros((0, 2), np.float32)
        self._velocity = np.zeros((0, 2), np.float32)
        self._ids = np.zeros(0, np.int64)
        self._next_id = 0
        self._observations: list[_Observations] = []

    def add(self, image: NDArray[np.uint8], frame: int) -> None:
        """Carry the live tracks into an image (H, W, 3) or (H, W), numbered `frame`."""
        grey = image
        if image.ndim == 3:
            grey = np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), np.uint8)
        if self._previous is not None and len(self._live):
            self._advance(self._previous, grey)
        self._replenish(grey)
        self._previous = grey
        self._observations.append((self._ids.copy(), frame, self._live.copy()))

    def tracks(self) -> Tracks:
        """All tracks so far, but for those taken, of at least min_views images."""
        return _long_tracks(self._observations, self._settings.min_views)

    def take_ended(self) -> Tracks:
        """Hand over the tracks of at least min_views images that ended, and forget them."""
        live = [np.isin(ids, self._ids) for ids, _, _ in self._observations]
        ended, held = (
            [
                (ids[chosen == is_live], frame, pixels[chosen == is_live])
                for (ids, frame, pixels), chosen in zip(self._observations, live, strict=True)
            ]
            for is_live in (False, True)
        )
        self._observations = [part for part in held if len(part[0])]
        return _long_tracks(ended, self._settings.min_views)

    @property
    def first_frame(self) -> int | None:
        """Number of the first frame that a track still held was seen in."""
        return self._observations[0][1] if self._observations else None

    def _advance(self, previous: NDArray[np.uint8], current: NDArray[np.uint8]) -> None:
        start = self._live
        moved, found = self._flow(previous, current, start, start + self._velocity)
        back, found_back = self._flow(current, previous, moved, start)
        height, width = current.shape
        kept = found & found_back
        kept &= np.linalg.norm(back - start, axis=1) < self._settings.forward_backward_px
        kept &= (moved >= 0.0).all(axis=1) & (moved <= (width - 1, height - 1)).all(axis=1)
        kept = _thinned(moved, kept, max(2.0, self._cell_size(current.shape) / 3.0))
        self._live, self._ids = moved[kept], self._ids[kept]
        self._velocity = (moved - start)[kept]

    def _flow(
        self, first: NDArray[np.uint8], second: NDArray[np.uint8], points: Pixels, guess: Pixels
    ) -> tuple[Pixels, NDArray[np.bool_]]:
        side = self._settings.window_px
        moved, status, _ = cv2.calcOpticalFlowPyrLK(
            first,
            second,
            points.reshape(-1, 1, 2),
            guess.reshape(-1, 1, 2).copy(),
            winSize=(side, side),
            maxLevel=self._settings.levels,
            criteria=(cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 20, 0.02),
            flags=cv2.OPTFLOW_USE_INITIAL_FLOW,
        )
        moved = np.asarray(moved, np.float32).reshape(-1, 2)
        return moved, (status.ravel() == 1) & np.isfinite(moved).all(axis=1)

    def _cell_size(self, shape: tuple[int, ...]) -> float:
        fewest = float(np.sqrt(shape[0] * shape[1] / self._settings.max_live))
        return max(float(self._settings.cell_px), fewest)

    def _replenish(self, grey: NDArray[np.uint8]) -> None:
        corners = self._strongest_per_cell(grey)
        count = len(corners)
        self._live = np.concatenate([self._live, corners])
        self._velocity = np.concatenate([self._velocity, np.zeros((count, 2), np.float32)])
        self._ids = np.concatenate([self._ids, np.arange(self._next_id, self._next_id + count)])
        self._next_id += count

    def _strongest_per_cell(self, grey: NDArray[np.uint8]) -> Pixels:
        """Strongest corner of every cell that no live track lies in, (N, 2)."""
        size = int(np.ceil(self._cell_size(grey.shape)))
        rows, columns = grey.shape[0] // size, grey.shape[1] // size
        strength = cv2.cornerMinEigenVal(grey, 5)[: rows * size, : columns * size]
        cells = strength.reshape(rows, size, columns, size).swapaxes(1, 2)
        cells = cells.reshape(rows * columns, size * size)
        best = cells.argmax(axis=1)
        row, column = np.divmod(np.arange(rows * columns), columns)
        points = np.stack([column * size + best % size, row * size + best // size], axis=-1)
        free = np.ones(rows * columns, bool)
        taken = np.floor(self._live / size).astype(np.int64)
        taken = taken[(taken < (columns, rows)).all(axis=1)]
        free[taken[:, 1] * columns + taken[:, 0]] = False
        strong = cells[np.arange(len(cells)), best] >= self._settings.min_corner
        chosen: Pixels = points[free & strong].astype(np.float32)
        return chosen


def _long_tracks(observations: list[_Observations], min_views: int) -> Tracks:
    """The tracks of at least min_views images, in the order of their ids."""
    if not observations:
        return no_tracks()
    ids = np.concatenate([ids for ids, _, _ in observations])
    frames = np.concatenate([np.full(len(ids), frame, np.int64) for ids, frame, _ in observations])
    pixels = np.concatenate([pixels for _, _, pixels in observations])
    _, track, views = np.unique(ids, return_inverse=True, return_counts=True)
    long_enough = views >= min_views
    kept = np.flatnonzero(long_enough[track])
    order = kept[np.lexsort((frames[kept], track[kept]))]
    renumbered = np.cumsum(long_enough) - 1
    return Tracks(renumbered[track[order]], frames[order], pixels[order])


def _thinned(points: Pixels, kept: NDArray[np.bool_], spacing: float) -> NDArray[np.bool_]:
    """Where kept tracks converged to one square of side `spacing`, the oldest (first) alone."""
    candidates = np.flatnonzero(kept)
    cells = np.floor(points[candidates] / spacing).astype(np.int64)
    _, first = np.unique(cells[:, 0] * (1 << 20) + cells[:, 1], return_index=True)
    thinned = np.zeros(len(points), bool)
    thinned[candidates[first]] = True
    return thinned
