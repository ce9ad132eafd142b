"""Static transforms of a recording: those of /tf_static, and those of /tf that never change."""

import numpy as np
from numpy.typing import NDArray

from fgsn_ros.errors import RecordingError
from fgsn_ros.geometry import poses
from fgsn_ros.messages.bag_messages import Message, frame_name, pose_row, valid_rows

_SAME_M = 1e-4
_SAME_RAD = 1e-4


class StaticTransforms:
    """A tree of frames whose edges do not move."""

    def __init__(self) -> None:
        self._edges: dict[tuple[str, str], NDArray[np.float64]] = {}
        self._latched: set[tuple[str, str]] = set()
        self._moving: set[tuple[str, str]] = set()

    @property
    def frames(self) -> list[str]:
        """Names of all frames with a static transform."""
        edges = set(self._edges) - self._moving
        return sorted({frame for edge in edges for frame in edge})

    def add(self, message: Message, latched: bool, source: str) -> None:
        """Add a TFMessage of /tf_static (`latched`: the last one counts) or of /tf.

        Raises:
            RecordingError: a transform is not finite.
        """
        for transform in message.transforms:
            parent = frame_name(transform.header.frame_id)
            edge = parent, frame_name(transform.child_frame_id)
            if not latched and (edge in self._latched or edge in self._moving):
                continue
            row = np.array(pose_row(transform.transform), np.float64)
            if not valid_rows(row):
                raise RecordingError(f"{source}: the transform {edge[0]} -> {edge[1]} is not valid")
            T = poses.from_quaternion(row[:3], row[3:])
            if latched:
                self._edges[edge] = T
                self._latched.add(edge)
                self._moving.discard(edge)
            elif self._moves(edge, T):
                self._moving.add(edge)

    def _moves(self, edge: tuple[str, str], T: NDArray[np.float64]) -> bool:
        """Whether T differs from the edge's first transform."""
        difference = poses.log(poses.compose(poses.invert(self._edges.setdefault(edge, T)), T))
        length, angle = np.linalg.norm(difference[:3]), np.linalg.norm(difference[3:])
        return bool(length > _SAME_M or angle > _SAME_RAD)

    def lookup(self, parent: str, child: str) -> NDArray[np.float64] | None:
        """T_parent_child (4, 4) over any chain of static transforms; None without a chain."""
        found: dict[str, NDArray[np.float64]] = {parent: poses.identity()}
        queue = [parent]
        for frame in queue:
            for neighbour, T in self._neighbours(frame):
                if neighbour not in found:
                    found[neighbour] = poses.compose(found[frame], T)
                    queue.append(neighbour)
        return found.get(child)

    def _neighbours(self, frame: str) -> list[tuple[str, NDArray[np.float64]]]:
        edges = [(edge, T) for edge, T in self._edges.items() if edge not in self._moving]
        down = [(child, T) for (parent, child), T in edges if parent == frame]
        up = [(parent, poses.invert(T)) for (parent, child), T in edges if child == frame]
        return down + up
