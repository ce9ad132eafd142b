"""Where the particles of now were: how each and its ancestors moved since past label times."""

from bisect import bisect_right
from collections.abc import Callable

from fgsn_ros.geometry import poses
from fgsn_ros.geometry.arrays import Array, Indices, is_tensor, numbered


class History:
    """Motions of the particles between stamps, and through every resampling who came from whom.

    A measurement that comes late weighs each particle by where it, or its ancestor, was then. Kept
    are motions, not places: a particle that is moved by a kernel after a resampling takes its past
    along. They are chained when they are asked for, so that a resampling costs one small array. On
    a GPU, where particles are many, a motion is kept as a twist: 24 bytes in place of 64.
    """

    def __init__(self) -> None:
        self._stamps: list[float] = []
        self._motions: list[Array] = []
        self._descents: list[Indices] = []

    def start(self, stamp: float, states: Array) -> None:
        """Forget all; particles (N, ...) begin at a stamp."""
        self._stamps = [stamp]
        self._motions = [states[:0]]  # of the step that ended there, which no one asks for
        self._descents = [numbered(states)]

    def add(self, stamp: float, T_motion: Array) -> None:
        """The particles moved to a stamp, each by T_motion (N, 4, 4) in its own frame."""
        self._stamps.append(stamp)
        self._motions.append(poses.log(T_motion) if is_tensor(T_motion) else T_motion)
        self._descents.append(numbered(T_motion))

    def descend(self, ancestors: Indices) -> None:
        """The particles of now came from those before by index (N,)."""
        self._descents[-1] = self._descents[-1][ancestors]

    def reaches(self, stamp: float) -> bool:
        """Whether the motions since a stamp are kept."""
        return bool(self._stamps) and stamp >= self._stamps[0]

    def back_to(self, stamp: float, odometry: Callable[[float, float], Array]) -> Array:
        """Pose (N, 4, 4) that each particle's ancestor had at a past stamp, in its frame of now.

        Within a step the ancestor moved with odometry, T (4, 4) between two stamps; what noise the
        step had comes in proportion to time.
        """
        index = bisect_right(self._stamps, stamp)
        own = self._descents[-1]
        T_now_then = poses.identity((len(own),), self._motions[-1])
        for step in range(len(self._stamps) - 1, index, -1):
            T_now_then = poses.compose(T_now_then, poses.invert(self._motion(step, own)))
            own = self._descents[step - 1][own]
        if index == len(self._stamps):
            return T_now_then
        start, end = self._stamps[index - 1], self._stamps[index]
        T_motion = self._motion(index, own)
        noise = poses.compose(poses.invert(odometry(start, end)), T_motion)
        still = poses.identity((len(own),), noise)
        noise = poses.interpolate(still, noise, (stamp - start) / (end - start))
        T_since_start = poses.compose(odometry(start, stamp), noise)
        T_now_start = poses.compose(T_now_then, poses.invert(T_motion))
        return poses.compose(T_now_start, T_since_start)

    def forget(self, before: float) -> None:
        """Drop the steps that ended before a stamp."""
        kept = max(bisect_right(self._stamps, before) - 1, 0)
        del self._stamps[:kept], self._motions[:kept], self._descents[:kept]

    def _motion(self, step: int, own: Indices) -> Array:
        """T_motion (N, 4, 4) that a step had for the particles by index."""
        motions = self._motions[step][own]
        return poses.exp(motions) if is_tensor(motions) else motions
