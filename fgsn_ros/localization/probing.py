"""Is the robot where it is thought to be, or elsewhere on the map's roads? What the labels say.

A particle filter judges a pose only beside those that its particles hold. Here the last label maps
are weighed at poses all along the key frames, some metres apart, by the same label statistics: at
a right pose the others fit clearly worse; at a wrong one another fits better, and is found. Without
a pose, all the map's roads are searched so: each place is a hypothesis, and driving decides.

Roads look alike: with the street below and houses beside it, labels fit the best of the wrong poses
to a good share of what they promise of a right one, and to the higher a sum, the more a place has
to show. So poses are compared by what they have beyond that share of their own promise.
"""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree
from scipy.special import expit

from fgsn_ros.config import require
from fgsn_ros.geometry import poses
from fgsn_ros.geometry.arrays import Array
from fgsn_ros.geometry.cameras import Camera, CameraMount
from fgsn_ros.localization import kernel
from fgsn_ros.localization.measurement import EvidenceTable, Grid, PinholeGrid
from fgsn_ros.localization.selection import PointSelector, SelectedPoints, SelectionSettings
from fgsn_ros.mapping.semantic_map import SemanticMap

IndexArray = npt.NDArray[np.int64]
_Key = tuple[int, int, int]

_CELL_M = 2.0
"""A place stands for the key frames of one heading in a cell of this side."""
_HEADINGS = 8
_POINTS = 200
"""Map points of a place."""
_BUCKETS = 14
"""The points in one of so many parts of the image, across and down, count as one: a place whose
points lie in few parts, as on the road alone, cannot say much."""
_COVERED = 100.0
"""Parts of an image that count as its independent points."""
_NEW_PLACES = 64
"""Places whose points are chosen at once, the nearest first: the others wait for the next time."""
_KEPT_PLACES = 5_000
"""The points of so many are kept, even where they are out of reach."""
_REQUERY_M = 20.0
_RADIUS_M = 40.0
"""Points further from a place are not used."""
_APART_M, _APART_RAD = 5.0, 0.35
"""Poses further apart are two answers to the question where the robot is."""
_METRES_PER_DIRECTION = 5.0
"""A place that heads another way is as far as one that lies so far off, per unit of direction."""
_RIVALS = 9
"""So many of the best poses that are apart tell what share of its promise a wrong one reaches."""
_BEST = 10, 6
"""So many of the best poses are looked at more closely, and of those again."""


def _grid(x: float, y: float, yaw: float) -> Array:
    """(27, 4, 4) Poses around the identity, x and y [m] and yaw [rad] apart."""
    steps = (-1.0, 0.0, 1.0)
    around = [poses.from_planar(a * x, b * y, c * yaw) for a in steps for b in steps for c in steps]
    return np.stack(around)


_CLOSER = _grid(0.6, 1.0, 0.06), _grid(0.25, 0.35, 0.02)
_SPREAD = np.diag(np.square([0.7, 0.7, 0.0, 0.0, 0.0, 0.04]))
"""A place stands for poses so far around it [m, rad]."""


@dataclass(frozen=True)
class ProbeSettings:
    """How a pose is compared with others on the map's roads."""

    views: int = 10
    """Label maps that poses are compared by, the newest, >= 1."""
    view_spacing_m: float = 2.0
    """Between these the robot drives so far [m], > 0."""
    least_views: int = 3
    """Nothing is decided by fewer, 1 to views: a single label map may fit elsewhere by chance. A
    robot that stands has one."""
    lead: float = 25.0
    """A pose that labels prefer to all others by this log-likelihood [nat] is right, > 0."""
    found_lead: float = 100.0
    """So must one be preferred that the whole map was searched for: on any map, also one that the
    robot is not on, some place fits best [nat], >= lead."""
    period_s: float = 2.0
    """A pose that is confirmed is compared again after this time [s], > 0."""

    def __post_init__(self) -> None:
        require(self.views >= 1, "probe: views must be at least 1")
        require(self.view_spacing_m > 0.0, "probe: view_spacing_m must be above 0")
        require(1 <= self.least_views <= self.views, "probe: least_views must be in 1 to views")
        require(self.lead > 0.0, "probe: lead must be above 0")
        require(self.found_lead >= self.lead, "probe: found_lead must be at least lead")
        require(self.period_s > 0.0, "probe: period_s must be above 0")


@dataclass(frozen=True, eq=False)
class View:
    """What a camera saw once."""

    stamp: float
    """[s]."""
    T_odom_base: Array
    """(4, 4)."""
    mount: CameraMount
    pinhole: PinholeGrid
    grid: Grid
    """(H, W) labels on the pinhole grid, K where unlabelled."""
    independent_points: float
    """It counts as so many points that are each evidence of their own."""


@dataclass(frozen=True, eq=False)
class _Evidence:
    """What the labels of one image say of map labels, beyond chance."""

    values: npt.NDArray[np.float32]
    """(K + 1, K) [observed, map], nothing where unlabelled [nat]."""
    promise: npt.NDArray[np.float32]
    """(K + 1, K) their mean at a right pose, whatever is observed [nat]."""


@dataclass(frozen=True, eq=False)
class _Used:
    """A view that poses of now are compared by."""

    view: View
    evidence: _Evidence
    T_now_then: Array
    """(4, 4) base_link at the view's time in that of now."""


@dataclass(frozen=True, eq=False)
class Comparison:
    """A pose beside the others on the map's roads; scores are log-likelihoods [nat]."""

    own: float
    """Of the pose itself; minus infinity if there is none."""
    other: float
    """Of the best one that is another."""
    T_map_other: Array
    """(4, 4) that one."""
    third: float
    """Of the best one that is neither."""
    views: int
    """Label maps that they were compared by."""
    T_map_own: Array | None = None
    """(4, 4) the pose itself; None if there is none."""
    complete: bool = True
    """Whether all the others were there, else nothing is known yet: points are chosen for some
    places at a time."""

    @property
    def lead(self) -> float:
        """How much the labels prefer the pose itself to all others [nat]."""
        return self.own - self.other

    def share_of_other(self, known: float = 0.0) -> float:
        """Probability that the robot is at the best other pose, of these two [0, 1].

        `known`: what speaks for the pose itself beside these views [nat].
        """
        return float(expit(-self.lead - known))

    @property
    def offset(self) -> Array:
        """(6,) From the pose to the best other one, x y z roll pitch yaw in the map [m, rad]."""
        offset = np.zeros(6)
        if self.T_map_own is not None:
            offset[:2] = (self.T_map_other - self.T_map_own)[:2, 3]
            turn = poses.compose(poses.invert(self.T_map_own), self.T_map_other)
            offset[5] = np.arctan2(turn[1, 0], turn[0, 0])
        return offset

    @property
    def distance_m(self) -> float:
        """From the pose to the best other one [m]; infinite if there is no pose."""
        return np.inf if self.T_map_own is None else float(np.hypot(*self.offset[:2]))

    @property
    def other_lead(self) -> float:
        """How much they prefer another one to it and to all the rest [nat]."""
        return self.other - max(self.own, self.third)


class Probe:
    """Compares poses by the last label maps.

    Only the roads near a pose are read from the map: the cost does not depend on its size.
    """

    def __init__(
        self, semantic_map: SemanticMap, selection: SelectionSettings, table: EvidenceTable
    ) -> None:
        self._places = _Places(semantic_map, selection)
        self._table = table
        self._views: list[View] = []
        self._evidence: list[_Evidence] = []

    def forget(self) -> None:
        """Drop the views, as when the motion between them and now is not known."""
        self._views, self._evidence = [], []

    def forget_before(self, stamp: float) -> None:
        """Drop the views before a stamp [s], as when the robot may have been carried since."""
        self._keep([k for k, view in enumerate(self._views) if view.stamp >= stamp])

    def views_since(self, stamp: float) -> int:
        """How many views there are from a stamp on [s]."""
        return sum(view.stamp >= stamp for view in self._views)

    def _keep(self, kept: list[int]) -> None:
        self._views = [self._views[k] for k in kept]
        self._evidence = [self._evidence[k] for k in kept]

    def add(self, view: View, settings: ProbeSettings) -> bool:
        """Keep a view if the robot has moved since the last one, or a camera is another's."""
        for before in reversed(self._views):
            if before.mount.frame_id == view.mount.frame_id:
                moved = poses.compose(poses.invert(before.T_odom_base), view.T_odom_base)
                if np.linalg.norm(moved[:3, 3]) < settings.view_spacing_m:
                    return False
                break
        self._views.append(view)
        self._evidence.append(_beyond_chance(self._table, view.grid))
        reach = 2.0 * settings.views * settings.view_spacing_m  # further back odometry has drifted
        kept = [
            k
            for k, before in enumerate(self._views)
            if np.linalg.norm((view.T_odom_base - before.T_odom_base)[:3, 3]) <= reach
        ]
        self._keep(kept[-settings.views :])
        return True

    def compare(
        self,
        T_map_base: Array | None,
        T_odom_base: Array,
        apart_m: float,
        reach_m: float,
        since: float | None = None,
    ) -> Comparison | None:
        """A pose beside others up to `reach_m` [m] from it; None if nothing can be compared.

        Args:
            T_map_base: (4, 4) the pose. None: it is not known, all others are compared.
            T_odom_base: (4, 4) odometry at its time.
            apart_m: Poses that are nearer to it are no others [m].
            reach_m: How far to look [m]; infinite: on the whole map.
            since: By the views from this stamp on [s]; None: by all that are kept.
        """
        used = [
            _Used(view, evidence, poses.compose(poses.invert(T_odom_base), view.T_odom_base))
            for view, evidence in zip(self._views, self._evidence, strict=True)
            if since is None or view.stamp >= since
        ]
        if not used:
            return None
        around = poses.identity() if T_map_base is None else T_map_base
        near, complete = self._places.choose(around, reach_m, [each.view for each in used])
        if len(near) == 0:
            return None
        if not complete:
            return Comparison(0.0, 0.0, around, 0.0, len(used), complete=False)
        others, scores = self._closely(near, used)
        if T_map_base is not None:
            elsewhere = _apart(others, T_map_base, apart_m)
            others, scores = others[elsewhere], scores[elsewhere]
        rivals = _best_apart(others, scores, _RIVALS)
        if not len(rivals):
            return None
        return self._beside(T_map_base, others[rivals], scores[rivals], used)

    def _beside(
        self, T_map_base: Array | None, rivals: Array, scores: Array, used: list[_Used]
    ) -> Comparison:
        """A pose (4, 4), if there is one, beside others (N, 4, 4) that are apart."""
        promises = self._scores(rivals, used, promised=True)
        share = float(np.median(scores / np.maximum(promises, 1.0)))
        beyond = scores - share * promises
        first, *rest = np.argsort(-beyond, kind="stable").tolist()
        third = float(beyond[rest[0]]) if rest else -np.inf
        own = -np.inf
        if T_map_base is not None:
            # As closely as the best of the others, or it would be at a disadvantage.
            around, of_own = self._closely(T_map_base[None], used)
            best = around[of_own.argmax()][None]
            own = float(of_own.max() - share * self._scores(best, used, promised=True)[0])
        return Comparison(own, float(beyond[first]), rivals[first], third, len(used), T_map_base)

    def _closely(self, T: Array, used: list[_Used]) -> tuple[Array, Array]:
        """Poses (N, 4, 4) and others around the best of them, with their log-likelihoods."""
        scores = self._scores(T, used)
        for count, closer in zip(_BEST, _CLOSER, strict=True):
            best = T[np.argsort(-scores, kind="stable")[:count]]
            around = poses.compose(best[:, None], closer[None]).reshape(-1, 4, 4)
            T = np.concatenate([T, around])
            scores = np.append(scores, self._scores(around, used))
        return T, scores

    def _scores(self, T_map_base: Array, used: list[_Used], promised: bool = False) -> Array:
        """Log-likelihoods (N,) of poses (N, 4, 4) by views, or what right poses have of them."""
        total = np.zeros(len(T_map_base))
        for each in used:
            view = each.view
            seen_from = poses.compose(T_map_base, each.T_now_then)
            seen = self._places.seen_by(view)
            first, last = seen.of_nearest(seen_from)
            T_map_camera = poses.compose(seen_from, view.mount.T_base_camera)
            matrices = view.pinhole.projections(T_map_camera, seen.origin)
            sums = kernel.score_places(
                matrices,
                first,
                last,
                seen.points,
                seen.labels,
                seen.weights,
                each.evidence.promise if promised else each.evidence.values,
                view.grid,
            )
            total += view.independent_points / _COVERED * sums
        return total


def _best_apart(T: Array, scores: Array, count: int) -> IndexArray:
    """Indices of so many of the best of poses (N, 4, 4), each apart from those before."""
    chosen: list[int] = []
    left = scores.copy()
    while len(chosen) < count and np.isfinite(left).any():
        best = int(left.argmax())
        chosen.append(best)
        left[~_apart(T, T[best], _APART_M)] = -np.inf
    return np.array(chosen, np.int64)


def _apart(T: Array, T_from: Array, metres: float) -> npt.NDArray[np.bool_]:
    """Which of poses (N, 4, 4) are further from one than that, or head another way."""
    far = np.linalg.norm((T - T_from)[:, :2, 3], axis=1) > metres
    turned = T[:, :3, 0] @ T_from[:3, 0] < np.cos(_APART_RAD)
    apart: npt.NDArray[np.bool_] = far | turned
    return apart


def _beyond_chance(table: EvidenceTable, grid: Grid) -> _Evidence:
    """What labels (H, W) say beyond what those of this image say by chance."""
    occurs = np.bincount(grid.ravel(), minlength=table.label_count + 1)[:-1]
    values, promise = np.zeros((2, *table.values.shape), np.float32)
    if occurs.any():
        chance, right = table.range_of(occurs)
        values[:-1] = table.values[:-1] - chance
        promise[:-1] = right - chance
    return _Evidence(values, promise)


class _Seen:
    """What one camera should see from each of some places, in one piece for the kernel."""

    def __init__(self, T_map_base: Array, selected: list[SelectedPoints]) -> None:
        """Of places (N, 4, 4)."""
        self.poses = T_map_base
        self._tree = cKDTree(_position_and_heading(T_map_base))
        self._ends = np.cumsum([0, *(len(each) for each in selected)])
        points = np.concatenate([each.points for each in selected])
        # Relative to a point nearby, float32 resolves micrometres anywhere on the map.
        self.origin = points.mean(axis=0) if len(points) else np.zeros(3)
        self.points = (points - self.origin).astype(np.float32)
        self.labels = np.concatenate([each.labels for each in selected]).astype(np.int32)
        self.weights = np.concatenate([each.weights for each in selected]).astype(np.float32)

    def of_nearest(self, T_map_base: Array) -> tuple[IndexArray, IndexArray]:
        """First and last + 1 (N,) of the points of the place that is nearest to each pose."""
        nearest = self._tree.query(_position_and_heading(T_map_base))[1]
        return self._ends[nearest], self._ends[nearest + 1]


def _shared(selected: SelectedPoints, T_map_camera: Array, camera: Camera) -> SelectedPoints:
    """The points with the weight of each part of the image shared among those in it."""
    uv, _ = camera.project(poses.transform(poses.invert(T_map_camera), selected.points))
    size = np.array([camera.width, camera.height])
    parts = np.clip((uv + 0.5) / size * _BUCKETS, 0, _BUCKETS - 1).astype(np.int64)
    _, part, counts = np.unique(parts @ [1, _BUCKETS], return_inverse=True, return_counts=True)
    return replace(selected, weights=1.0 / counts[part])


def _position_and_heading(T: Array) -> Array:
    """(N, 4) near each other where poses (N, 4, 4) see much the same."""
    return np.concatenate([T[:, :2, 3], _METRES_PER_DIRECTION * T[:, :2, 0]], axis=1)


class _Places:
    """Poses on the key frames around the robot, each with what a camera should see from there."""

    def __init__(self, semantic_map: SemanticMap, selection: SelectionSettings) -> None:
        self._map = semantic_map
        radius = min(selection.radius_m, _RADIUS_M)
        self._selector = PointSelector(semantic_map, replace(selection, radius_m=radius))
        self._read_for: tuple[Array, float] | None = None
        self._poses: dict[_Key, Array] = {}
        self._selected: dict[tuple[str, _Key], SelectedPoints] = {}
        self._seen: dict[str, _Seen] = {}

    def choose(self, T_map_base: Array, reach_m: float, views: list[View]) -> tuple[Array, bool]:
        """Poses (N, 4, 4) up to a distance from one, that all the views' cameras are ready for.

        And whether these are all that there are.
        """
        position = T_map_base[:2, 3]
        before = self._read_for
        if (
            before is None
            or before[1] != reach_m
            or (np.isfinite(reach_m) and np.linalg.norm(position - before[0]) > _REQUERY_M)
        ):
            self._read(position, reach_m)
        keys = list(self._poses)
        if not keys:
            return np.zeros((0, 4, 4)), True
        T = np.stack(list(self._poses.values()))
        distance = np.linalg.norm(T[:, :2, 3] - position, axis=1)
        near = np.argsort(distance, kind="stable")
        near = near[distance[near] <= reach_m]
        ready = np.ones(len(near), bool)
        for view in {view.mount.frame_id: view for view in views}.values():
            ready &= self._select([keys[k] for k in near], T[near], view)
        return np.asarray(T[near[ready]]), bool(ready.all())

    def seen_by(self, view: View) -> _Seen:
        """What a view's camera should see from the places that are ready for it."""
        return self._seen[view.mount.frame_id]

    def _read(self, position: Array, reach_m: float) -> None:
        """Places around a position, one for each cell and heading that the key frames have."""
        if np.isinf(reach_m):
            T = self._map.keyframe_poses
        else:
            reach = reach_m + _REQUERY_M
            T = self._map.keyframes_within(position - reach, position + reach)
        cells = np.floor(T[:, :2, 3] / _CELL_M)
        turns = np.arctan2(T[:, 1, 0], T[:, 0, 0]) / (2.0 * np.pi)
        heading = np.mod(np.round(turns * _HEADINGS), _HEADINGS)
        keys = np.concatenate([cells, heading[:, None]], axis=1).astype(np.int64)
        unique, first = np.unique(keys, axis=0, return_index=True)
        self._poses = {
            (int(x), int(y), int(h)): T[k] for (x, y, h), k in zip(unique, first, strict=True)
        }
        if len(self._selected) > _KEPT_PLACES:
            self._selected = {key: s for key, s in self._selected.items() if key[1] in self._poses}
        self._seen = {}
        self._read_for = position.copy(), reach_m

    def _select(self, keys: list[_Key], T: Array, view: View) -> npt.NDArray[np.bool_]:
        """Choose points for places of keys (N,) and poses (N, 4, 4); which (N,) have some now."""
        camera = view.mount.frame_id
        missing = [k for k, key in enumerate(keys) if (camera, key) not in self._selected]
        for k in missing[:_NEW_PLACES]:
            T_map_camera = poses.compose(T[k], view.mount.T_base_camera)
            rng = np.random.default_rng(0)  # of the same place always the same points
            selected = self._selector.select(
                T_map_camera, _SPREAD, view.pinhole.camera, _POINTS, rng
            )
            self._selected[camera, keys[k]] = _shared(selected, T_map_camera, view.pinhole.camera)
        if missing or camera not in self._seen:
            ready = [key for key in self._poses if (camera, key) in self._selected]
            T_ready = np.stack([self._poses[key] for key in ready])
            self._seen[camera] = _Seen(T_ready, [self._selected[camera, key] for key in ready])
        return np.array([(camera, key) in self._selected for key in keys])
