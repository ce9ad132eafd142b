"""Labels of a drive's points: which views see a point, and what they vote for."""

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from fgsn_ros.geometry.cameras import Camera, CameraMount
from fgsn_ros.kernel_cache import kernel
from fgsn_ros.lookahead import map_ahead
from fgsn_ros.mapping.blocks import Blocks, LabelledView
from fgsn_ros.mapping.map_records import FloatArray, IndexArray
from fgsn_ros.mapping.structure import StructurePoints
from fgsn_ros.segmentation.labels import LabelMap

Mask = NDArray[np.bool_]
_STEP_M = 10.0
"""The blocks around the robot are looked up again when it has moved so far."""
_COMPACT_AT = 10_000
"""Pending votes beyond twice the pairs that occurred: few, as each block of a map has its own."""
_OCCLUSION_CELL_PX = (24.0, 8.0)
"""Wide and low: along a column of the image, a road's depth changes quickly."""
_OCCLUSION_DEPTH = 0.7
"""A point is hidden where another of its cell has less than this share of its depth."""
_Seen = tuple[IndexArray, FloatArray, Mask]


@dataclass(frozen=True)
class VotingRules:
    """Which points an image votes for, and with what weight; see `MapSettings`."""

    range_factor: float
    view_angle: float
    """[rad]"""
    projected_weight: float


def cast_votes(
    blocks: Blocks,
    views: Iterable[LabelledView],
    mounts: Mapping[str, CameraMount],
    rules: VotingRules,
) -> None:
    """Let every view vote for the points that it sees; the sums are put aside with the blocks.

    The blocks around the robot are in memory. Threads find the points of several views at once;
    the votes are added in the views' order.
    """
    window = _Window(blocks, rules)
    workers = os.cpu_count() or 1

    def seen(view: LabelledView) -> tuple[LabelledView, _Seen]:
        camera = mounts[view.camera].camera
        return view, window.visibility.visible(view.frame, view.T_map_camera, camera)

    for centre, near in _by_place(views):
        window.move(centre)
        for view, points in map_ahead(seen, near, 2 * workers, workers):
            window.vote(view, points)
    window.close()


def _by_place(
    views: Iterable[LabelledView],
) -> Iterator[tuple[FloatArray, Iterator[LabelledView]]]:
    """Views in runs that stay within _STEP_M of the centre (3,) of the first of them."""
    centre: FloatArray | None = None

    def place(view: LabelledView) -> tuple[float, ...]:
        nonlocal centre
        here: FloatArray = view.T_map_camera[:3, 3]
        if centre is None or float(np.linalg.norm(here - centre)) > _STEP_M:
            centre = here
        return tuple(centre.tolist())

    for key, near in groupby(views, place):
        yield np.array(key), near


class _Window:
    """The blocks around the robot, with the votes for their points."""

    def __init__(self, blocks: Blocks, rules: VotingRules) -> None:
        self._blocks = blocks
        self._rules = rules
        self._votes: dict[int, LabelVotes] = {}
        self._starts = np.zeros(1, np.int64)

    def move(self, centre: FloatArray) -> None:
        """Read the blocks of every point that can be seen from within _STEP_M of a centre (3,).

        The votes for those left behind are put aside.
        """
        keys = self._blocks.near(centre, self._rules.range_factor, _STEP_M)
        labels, factor = self._blocks.label_count, self._rules.range_factor
        for key in set(self._votes).difference(keys):
            self._put_aside(key)
        self._votes = {key: self._votes.get(key) or LabelVotes(labels) for key in keys}
        points = [self._blocks.points(key) for key in keys]
        self._starts = np.cumsum([0, *map(len, points)])
        sightings = [
            self._blocks.sightings(key) + np.array([start, 0], np.int32)
            for key, start in zip(keys, self._starts, strict=False)
        ]
        ranges = np.concatenate([np.zeros((0, 2)), *(part["range"] for part in points)])
        self.visibility = Visibility(
            np.concatenate([np.zeros((0, 3)), *(part["position"] for part in points)]),
            np.concatenate([np.zeros((0, 3)), *(part["direction"] for part in points)]),
            ranges * [1.0, factor] / [factor, 1.0],
            np.concatenate([np.zeros((0, 2), np.int32), *sightings]),
            self._rules.view_angle,
        )

    def vote(self, view: LabelledView, seen: _Seen) -> None:
        """Add a view's votes for the points that it sees."""
        points, pixels, tracked = seen
        weights = np.where(tracked, 1.0, self._rules.projected_weight)
        cuts = np.searchsorted(points, self._starts)
        for votes, start, first, last in zip(
            self._votes.values(), self._starts, cuts, cuts[1:], strict=False
        ):
            part = slice(first, last)
            vote(votes, points[part] - start, pixels[part], weights[part], view.label_map)

    def close(self) -> None:
        """Put all votes aside."""
        for key in list(self._votes):
            self._put_aside(key)

    def _put_aside(self, key: int) -> None:
        self._blocks.add_votes(key, *self._votes.pop(key).sums())


def winners(blocks: Blocks, key: int) -> tuple[NDArray[np.uint16], FloatArray]:
    """Label of each point (P,) of a block, and its share of the votes (P,)."""
    votes = LabelVotes(blocks.label_count)
    votes.add_sums(*blocks.votes(key))
    return votes.winners(len(blocks.points(key)))


@dataclass
class LabelVotes:
    """A sparse histogram of votes per point: weights of the (point, label) pairs that occur."""

    label_count: int
    _keys: list[IndexArray] = field(default_factory=list)
    _weights: list[FloatArray] = field(default_factory=list)
    _pending: int = 0

    def add(
        self,
        points: NDArray[np.integer],
        labels: NDArray[np.integer],
        weights: NDArray[np.floating],
    ) -> None:
        """Add votes (N,): point, label below label_count, weight."""
        keys = points.astype(np.int64) * self.label_count + labels.astype(np.int64)
        self.add_sums(keys, weights.astype(np.float64))

    def add_sums(self, keys: IndexArray, weights: FloatArray) -> None:
        """Add votes (N,) as another histogram's `sums` gave them."""
        self._keys.append(keys)
        self._weights.append(weights)
        self._pending += len(keys)
        if self._pending > _COMPACT_AT + 2 * len(self._keys[0]):
            self.sums()

    def winners(self, point_count: int) -> tuple[NDArray[np.uint16], FloatArray]:
        """Label of each point (P,) and its share of the votes (P,); 0 where there was no vote."""
        keys, weights = self.sums()
        points, labels = np.divmod(keys, self.label_count)
        totals = np.bincount(points, weights, minlength=point_count)
        # Among equal weights the lowest label wins: the order does not depend on the votes'.
        order = np.lexsort((-labels, weights, points))
        best = order[np.flatnonzero(np.diff(points[order], append=-1))]
        winning = np.zeros(point_count, np.uint16)
        share = np.zeros(point_count)
        winning[points[best]] = labels[best]
        voted = best[totals[points[best]] > 0.0]
        share[points[voted]] = weights[voted] / totals[points[voted]]
        return winning, np.minimum(share, 1.0)

    def sums(self) -> tuple[IndexArray, FloatArray]:
        """Keys (N,), point * label_count + label, of the pairs that occur; their weights (N,)."""
        keys = np.concatenate([np.zeros(0, np.int64), *self._keys])
        weights = np.concatenate([np.zeros(0), *self._weights])
        unique, inverse = np.unique(keys, return_inverse=True)
        sums: FloatArray = np.bincount(inverse.ravel(), weights, minlength=len(unique)).astype(
            np.float64
        )
        self._keys, self._weights, self._pending = [unique], [sums], 0
        return unique, sums


def vote(
    votes: LabelVotes,
    points: IndexArray,
    pixels: FloatArray,
    weights: FloatArray,
    label_map: LabelMap,
) -> None:
    """Let an image vote for the points (V,) that it shows at pixels (V, 2).

    A vote weighs the network's confidence times `weights` (V,); unlabelled cells do not vote.
    """
    labels, confidence = label_map.at(pixels)
    labelled = labels < label_map.label_count
    votes.add(points[labelled], labels[labelled], (confidence * weights)[labelled])


class Visibility:
    """Points, and which of them a frame sees. Its methods may run in several threads."""

    def __init__(
        self,
        points: FloatArray,
        directions: FloatArray,
        ranges: FloatArray,
        sightings: NDArray[np.signedinteger],
        angle: float,
    ) -> None:
        """Prepare.

        Args:
            points: (P, 3) in the map [m].
            directions: (P, 3) mean unit viewing directions, camera to point.
            ranges: (P, 2) distances between which a point can be seen [m].
            sightings: (S, 2) point and frame of each view that a point was triangulated from.
            angle: Largest from a point's viewing direction [rad].
        """
        self._points = points
        self._directions = directions
        self._ranges = ranges
        by_frame = np.argsort(sightings[:, 1], kind="stable")
        self._seen_points, self._seen_frames = sightings[by_frame].T.copy()
        self._cosine = float(np.cos(angle))

    @staticmethod
    def of(points: StructurePoints, range_factor: float, angle: float) -> "Visibility":
        """Of a structure; range and direction may leave the observed by a factor and an angle."""
        ranges = np.stack(
            [points.min_range / range_factor, points.max_range * range_factor], axis=1
        )
        sightings = np.stack([points.observations.track, points.observations.frame], axis=1)
        return Visibility(points.points, points.directions, ranges, sightings, angle)

    def visible(
        self, frame: int, T_map_camera: FloatArray, camera: Camera
    ) -> tuple[IndexArray, FloatArray, Mask]:
        """Points that a frame sees from T_map_camera (4, 4).

        Returns:
            Ascending indices (V,), pixels (V, 2), and whether the frame's own tracks hold the
            point (V,); another point that lies behind nearer ones is left out.
        """
        fits = _fits(
            self._points, self._directions, self._ranges, T_map_camera[:3, 3].copy(), self._cosine
        )
        near: IndexArray = np.flatnonzero(fits)
        seen = in_camera(T_map_camera, self._points[near])
        pixels, valid = camera.project(seen)
        near, pixels, depth = near[valid], pixels[valid], seen[valid, 2]
        tracked = np.isin(near, self._tracked(frame))
        kept = tracked | ~_hidden(pixels, depth)
        return near[kept], pixels[kept], tracked[kept]

    def _tracked(self, frame: int) -> IndexArray:
        first, last = (
            np.searchsorted(self._seen_frames, frame, side) for side in ("left", "right")
        )
        tracked: IndexArray = self._seen_points[first:last].astype(np.int64)
        return tracked


def in_camera(T_map_camera: FloatArray, points: FloatArray) -> FloatArray:
    """Points (V, 3) of the map in a camera's frame."""
    seen: FloatArray = (points - T_map_camera[:3, 3]) @ T_map_camera[:3, :3]
    return seen


@kernel(nogil=True)
def _fits(
    points: FloatArray,
    directions: FloatArray,
    ranges: FloatArray,
    centre: FloatArray,
    cosine: float,
) -> Mask:  # pragma: no cover - compiled
    """Points (P,) that are seen from a centre (3,) about as they were seen before."""
    fits = np.zeros(len(points), np.bool_)
    for i in range(len(points)):
        x, y, z = points[i, 0] - centre[0], points[i, 1] - centre[1], points[i, 2] - centre[2]
        distance = np.sqrt(x * x + y * y + z * z)
        if distance < ranges[i, 0] or distance > ranges[i, 1]:
            continue
        along = x * directions[i, 0] + y * directions[i, 1] + z * directions[i, 2]
        fits[i] = along >= cosine * distance
    return fits


def _hidden(pixels: FloatArray, depth: FloatArray) -> Mask:
    """Points (V,) far behind the nearest point of their cell of the image."""
    cells = np.floor(pixels / _OCCLUSION_CELL_PX).astype(np.int64)
    cell = cells[:, 1] * (cells[:, 0].max(initial=0) + 1) + cells[:, 0]
    nearest = np.full(cell.max(initial=0) + 1, np.inf)
    np.minimum.at(nearest, cell, depth)
    hidden: Mask = depth * _OCCLUSION_DEPTH > nearest[cell]
    return hidden
