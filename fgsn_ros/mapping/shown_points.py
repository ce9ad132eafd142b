"""The part of a map that is shown: all of a small one, else what is near the robot."""

import numpy as np
from numpy.typing import NDArray

from fgsn_ros.mapping.map_records import MapPoints
from fgsn_ros.mapping.semantic_map import SemanticMap

MAP_POINTS_SHOWN = 500_000
"""A map of more points is shown around the robot."""
_SHOWN_RADIUS_M = 150.0
_MOVED_M = 50.0
"""A large map is shown anew when the robot has moved so far."""


class ShownPoints:
    """Says which points to show, and when they are others."""

    def __init__(self, semantic_map: SemanticMap) -> None:
        self._map = semantic_map
        self._small = len(semantic_map) <= MAP_POINTS_SHOWN
        self._shown_at: NDArray[np.float64] | None = None

    def restart(self) -> None:
        """Whoever is shown the map has none of it."""
        self._shown_at = None

    def at_once(self) -> MapPoints | None:
        """What can be shown before the robot's position is known."""
        return self.around(np.zeros(3)) if self._small else None

    def around(self, position: NDArray[np.float64]) -> MapPoints | None:
        """Points to show for a robot at a position (3,) [m]; None if they are shown already."""
        if self._shown_at is not None and (
            self._small or np.linalg.norm(position - self._shown_at) < _MOVED_M
        ):
            return None
        self._shown_at = position.copy()
        if self._small:
            return self._map.all_points()
        near = self._map.points_near(position, _SHOWN_RADIUS_M)
        return near[:: max(1, -(-len(near) // MAP_POINTS_SHOWN))]
