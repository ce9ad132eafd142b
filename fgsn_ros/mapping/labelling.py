"""Votes of a drive's labelled images for its points, with the blocks around the robot in memory."""

import os
from collections import deque
from collections.abc import Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fgsn_ros.geometry.cameras import CameraMount
from fgsn_ros.mapping.blocks import Blocks
from fgsn_ros.mapping.labelled_views import LabelledView
from fgsn_ros.mapping.map_records import FloatArray, IndexArray
from fgsn_ros.mapping.visibility import Visibility
from fgsn_ros.mapping.votes import LabelVotes, vote

_STEP_M = 10.0
"""The blocks around the robot are looked up again when it has moved so far."""
_Seen = tuple[IndexArray, FloatArray, NDArray[np.bool_]]


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

    Threads find the points of several views at once; the votes are added in the views' order.
    """
    window = _Window(blocks, rules)
    workers = os.cpu_count() or 1
    pending: deque[tuple[LabelledView, Future[_Seen]]] = deque()
    with ThreadPoolExecutor(workers, thread_name_prefix="visibility") as pool:
        for view in views:
            T_map_camera = view.T_map_camera
            if not window.serves(T_map_camera[:3, 3]):
                while pending:
                    window.vote(*pending.popleft())
                window.move(T_map_camera[:3, 3])
            seen = pool.submit(
                window.visibility.visible, view.frame, T_map_camera, mounts[view.camera].camera
            )
            pending.append((view, seen))
            if len(pending) > 2 * workers:
                window.vote(*pending.popleft())
        while pending:
            window.vote(*pending.popleft())
    window.close()


class _Window:
    """The blocks around the robot, with the votes for their points."""

    def __init__(self, blocks: Blocks, rules: VotingRules) -> None:
        self._blocks = blocks
        self._rules = rules
        self._centre: FloatArray | None = None
        self._votes: dict[int, LabelVotes] = {}
        self._starts = np.zeros(1, np.int64)

    def serves(self, centre: FloatArray) -> bool:
        """Whether every point that can be seen from a centre (3,) is in memory."""
        return self._centre is not None and float(np.linalg.norm(centre - self._centre)) <= _STEP_M

    def move(self, centre: FloatArray) -> None:
        """Read the blocks around a centre (3,); put aside the votes for those left behind."""
        self._centre = centre
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

    def vote(self, view: LabelledView, seen: "Future[_Seen]") -> None:
        """Add a view's votes for the points that it sees."""
        points, pixels, tracked = seen.result()
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
