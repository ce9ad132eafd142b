"""A drive added to a map: what its images say of the map's points, and points that the map lacked.

The map's points lie in the same blocks as those that the drive triangulates, hide one another, and
are voted for by the same images. Then each block is settled: see `SessionRules`.
"""

import contextlib
import dataclasses
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from fgsn_ros.config import require
from fgsn_ros.errors import MapError
from fgsn_ros.geometry import poses
from fgsn_ros.mapping.adding_features import AddedFeatures
from fgsn_ros.mapping.blocks import Blocks, Spill, grouped
from fgsn_ros.mapping.builder import (
    Labels,
    MapSettings,
    checked_tiles,
    label_drive,
    labelled_points,
)
from fgsn_ros.mapping.labelling import LabelVotes
from fgsn_ros.mapping.local_features import FOLDER as FEATURE_FOLDER
from fgsn_ros.mapping.local_features import load_local_features
from fgsn_ros.mapping.map_files import MapWriter, load_map, told_sessions
from fgsn_ros.mapping.map_records import (
    SESSIONS,
    FloatArray,
    IndexArray,
    MapPoints,
    Records,
    decoded_poses,
    joined,
    keyframe_dtype,
    pack,
    tiles_of,
)
from fgsn_ros.mapping.semantic_map import SemanticMap, check_fingerprint
from fgsn_ros.mapping.structure import StructurePoints
from fgsn_ros.mapping.tracks import no_tracks
from fgsn_ros.recordings.recording import Recording
from fgsn_ros.segmentation.checkpoint import Checkpoint

Mask = NDArray[np.bool_]
_OLD = np.dtype(
    [("label", "<u2"), ("confidence", "<f4"), ("supported", "u1"), ("contradicted", "u1")]
)
_NEIGHBOURS = 6
_KEYFRAME_ROWS = 100_000
_KEYFRAME_TURN = np.radians(20.0)
_MOST = 255


@dataclass(frozen=True)
class SessionRules:
    """What a drive's votes do to a map's points.

    A drive supports a point, contradicts it, or says too little of it. A point that n drives
    supported goes when n + 1 in a row contradict it; n counts up to `most_support`, so that the
    world may change after any number of drives. It goes with the n-th already where that drive
    triangulated another label at its place: then there is something in its stead. One drive alone
    never leaves a hole: a lorry before a wall contradicts the wall. A drive that supports a point
    forgives what others had against it.
    """

    outlier_share: float = 0.35
    """Share of labels that say nothing, [0, 1): bounds what one image can say against a point."""
    least_votes: float = 1.0
    """Least weight of a drive's votes for a point that are heard: two images in which it was
    tracked, or four in whose view it should be, of a network that is sure. > 0."""
    contradiction: float = -0.4
    """Mean log-ratio of the labels seen at a point below which a drive contradicts it [nat]. < 0.
    With the share of outliers above a label that is never seen at such a point counts -1.05, and
    one that is usual about +1: three of four images must show something else."""
    most_support: int = 3
    """Drives that support counts up to. >= 1."""
    same_place_m: float = 0.3
    """A drive's point so near to one of the map that looks alike is the same [m]. > 0."""
    same_place_share: float = 0.02
    """The same, as a share of the shortest distance from which the drive saw it: far points are
    less sure, and needed less densely. >= 0."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        require(0.0 <= self.outlier_share < 1.0, "outlier_share must be in [0, 1)")
        require(self.least_votes > 0.0, "least_votes must be above 0")
        require(self.contradiction < 0.0, "contradiction must be below 0")
        require(1 <= self.most_support < _MOST, "most_support must be in 1..254")
        require(self.same_place_m > 0.0, "same_place_m must be above 0")
        require(self.same_place_share >= 0.0, "same_place_share must be at least 0")


@dataclass(frozen=True)
class Added:
    """What a drive changed in a map, in points."""

    before: int = 0
    confirmed: int = 0
    """seen as they are labelled"""
    contradicted: int = 0
    """seen otherwise, and kept for now"""
    replaced: int = 0
    """gone, as the drive has points of another label in their place"""
    dropped: int = 0
    """gone, as more drives in a row contradicted them than had supported them"""
    merged: int = 0
    """of the drive, at places where the map had their like"""
    added: int = 0
    """of the drive, which the map lacked"""
    after: int = 0
    keyframes_added: int = 0

    def __add__(self, other: "Added") -> "Added":
        return Added(
            *(a + b for a, b in zip(*map(dataclasses.astuple, (self, other)), strict=True))
        )

    @property
    def contradicted_share(self) -> float:
        """Of the points that the drive says anything of."""
        against = self.contradicted + self.replaced + self.dropped
        return against / max(against + self.confirmed, 1)

    def text(self) -> str:
        """In one line."""
        return (
            f"{self.before} points before: {self.confirmed} confirmed, {self.contradicted} "
            f"contradicted and kept, {self.replaced} replaced, {self.dropped} dropped; "
            f"{self.added} added ({self.merged} were there); {self.after} points, "
            f"{self.keyframes_added} key frames more"
        )


def add_drive(
    folder: Path,
    map_folder: Path,
    recording: Recording,
    labels: Labels,
    checkpoint: Checkpoint,
    settings: MapSettings | None = None,
    rules: SessionRules | None = None,
    facts: Mapping[str, object] | None = None,
) -> Added:
    """Write a map with a drive added to it into an empty folder.

    Args:
        folder: Where the new map goes, such as the one of `whole_folder`.
        map_folder: The map as it is; it stays so.
        recording: The drive; its ground truth is T_map_base, and has holes where nothing is added.
        labels: Label map of a frame.
        checkpoint: That labelled the map; with label statistics.
        settings: How points are made; their tiles are the map's.
        rules: What votes do to the map's points.
        facts: What else meta.json shall tell of the drive; JSON values.

    Raises:
        MapError: the map is damaged or of another checkpoint, the checkpoint has no label
            statistics, or no point could be triangulated.
        RecordingError: the recording has no poses, or a frame cannot be read.
    """
    semantic_map = load_map(map_folder)
    check_fingerprint(semantic_map, checkpoint.fingerprint)
    if checkpoint.log_ratio is None:
        raise MapError("the checkpoint has no label statistics; finish it with `fgsn train`")
    settings = dataclasses.replace(settings or MapSettings(), tile_size_m=semantic_map.tile_size_m)
    scratch = folder / "building"
    scratch.mkdir()
    with contextlib.ExitStack() as stack:
        stack.callback(shutil.rmtree, scratch)
        blocks = Blocks(scratch, semantic_map.tile_size_m, semantic_map.label_count)
        stack.callback(blocks.close)
        old = _OldMap(scratch, semantic_map, blocks)
        stack.callback(old.close)
        features = None
        if (map_folder / FEATURE_FOLDER).is_dir():
            described = load_local_features(map_folder, semantic_map)
            features = AddedFeatures(scratch, described, recording.cameras, settings)
            stack.callback(features.close)
        builder = None if features is None else features.builder
        label_drive(blocks, recording, labels, settings, scratch, builder)
        settling = _Settling(blocks, old, checkpoint, settings, rules or SessionRules())
        told = told_sessions(map_folder)
        added = _write(folder, semantic_map, settling, told, recording.name, facts or {})
        if features is not None:
            features.write(folder, checkpoint)
    return added


def _write(
    folder: Path,
    semantic_map: SemanticMap,
    settling: "_Settling",
    told: list[dict[str, object]],
    name: str,
    facts: Mapping[str, object],
) -> Added:
    """Write all blocks, and what came of them."""
    m, added = semantic_map, Added()
    writer = MapWriter(folder, m.label_count, m.fingerprint, m.tile_size_m, with_sessions=True)
    for key in settling.keys:
        points, sessions, keyframes, changed = settling.settled(key)
        by_tile = np.argsort(pack(tiles_of(points.points, m.tile_size_m)), kind="stable")
        tiles = checked_tiles(points[by_tile], keyframes, m.tile_size_m)
        writer.add(tiles, sessions[by_tile])
        added += changed
    if writer.point_count == 0:
        raise MapError(f"{name} contradicts every point of the map, and has none of its own")
    session = {"recording": name[:200], **facts, **dataclasses.asdict(added)}
    writer.close(told=[*told, session])
    return added


class _OldMap:
    """The points and key frames of the map, by block; its points are put into the blocks, too."""

    def __init__(self, scratch: Path, semantic_map: SemanticMap, blocks: Blocks) -> None:
        keyframe = keyframe_dtype(semantic_map.label_count)
        self._points = Spill(scratch / "old_points", _OLD)
        self._keyframes = Spill(scratch / "old_keyframes", keyframe)
        self.keys: set[int] = set()
        for part, sessions in semantic_map.parts_with_sessions():
            blocks.add(_as_structure(part))
            records = np.zeros(len(part), _OLD)
            records["label"], records["confidence"] = part.labels, part.confidence
            for name in SESSIONS.names or ():
                records[name] = sessions[name]
            self._add(self._points, blocks.keys_of(part.points.astype(np.float64)), records)
        for first in range(0, len(semantic_map.keyframes), _KEYFRAME_ROWS):
            rows = semantic_map.keyframes[first : first + _KEYFRAME_ROWS]
            self._add(self._keyframes, blocks.keys_of(rows["position"]), rows)

    def _add(self, spill: Spill, keys: IndexArray, records: Records) -> None:
        for key, chosen in grouped(keys):
            spill.add(key, records[chosen])
            self.keys.add(key)

    def points(self, key: int) -> Records:
        """_OLD of a block's first points, in their order."""
        return self._points.read(key)

    def keyframes(self, key: int) -> Records:
        """Key frames of a block."""
        return self._keyframes.read(key)

    def close(self) -> None:
        """Let go of the files."""
        self._points.close()
        self._keyframes.close()


def _as_structure(points: MapPoints) -> StructurePoints:
    """Points of a map as points that no frame of the drive has tracked."""
    return StructurePoints(
        points.points.astype(np.float64),
        points.directions.astype(np.float64),
        points.min_range.astype(np.float64),
        points.max_range.astype(np.float64),
        np.zeros(len(points)),
        no_tracks(),
    )


class _Settling:
    """Settles what the drive says, block by block.

    What lies near a block's border is compared within its block alone: a place there may get a
    point of each side.
    """

    def __init__(
        self,
        blocks: Blocks,
        old: _OldMap,
        checkpoint: Checkpoint,
        settings: MapSettings,
        rules: SessionRules,
    ) -> None:
        ratio = np.asarray(checkpoint.log_ratio, np.float64)
        with np.errstate(divide="ignore"):
            silent = np.log(rules.outlier_share)
        self._says = np.logaddexp(np.log1p(-rules.outlier_share) + ratio, silent)
        self._alike = ratio > 0.0
        self._blocks, self._old = blocks, old
        self._stationary = checkpoint.stationary
        self._settings, self._rules = settings, rules

    @property
    def keys(self) -> list[int]:
        """All blocks."""
        return sorted(self._old.keys.union(self._blocks.keys))

    def settled(self, key: int) -> tuple[MapPoints, Records, Records, Added]:
        """Points of a block with their SESSIONS, its key frames, and what changed."""
        old = self._old.points(key)
        voted, believed = labelled_points(self._blocks, key, self._stationary, self._settings)
        count = len(old)
        own = voted[count:][believed[count:]]
        mine = dataclasses.replace(
            voted[:count], labels=old["label"].copy(), confidence=old["confidence"].astype(float)
        )
        says, agreeing = self._verdicts(key, old)
        same, contrary = self._same_places(mine, own)
        supports = says > 0.0
        contradicts = says <= self._rules.contradiction
        merged = same >= 0
        supports[same[merged]], contradicts[same[merged]] = True, False
        replaced_at = np.zeros(count, np.bool_)
        replaced_at[contrary[contrary >= 0]] = True
        sessions, gone = self._aged(old, supports, contradicts, replaced_at)
        mine = self._revoted(mine, old, np.isfinite(says), agreeing)
        mine = _widened(mine, own, same)
        kept, fresh = np.flatnonzero(~gone), np.flatnonzero(~merged)
        new = np.zeros(len(fresh), SESSIONS)
        new["supported"] = 1
        keyframes, keyframes_added = self._keyframes(key)
        changed = Added(
            before=count,
            confirmed=int(supports.sum()),
            contradicted=int((contradicts & ~gone).sum()),
            replaced=int((gone & replaced_at).sum()),
            dropped=int((gone & ~replaced_at).sum()),
            merged=int(merged.sum()),
            added=len(fresh),
            after=len(kept) + len(fresh),
            keyframes_added=keyframes_added,
        )
        points = joined([mine[kept], own[fresh]])
        return points, np.concatenate([sessions[kept], new]), keyframes, changed

    def _verdicts(self, key: int, old: Records) -> tuple[FloatArray, FloatArray]:
        """What the drive's labels say of each old point (P,), and the share that speaks for it.

        The first is their mean log-ratio with outliers [nat], NaN where too few were seen.
        """
        votes = LabelVotes(self._blocks.label_count)
        votes.add_sums(*self._blocks.votes(key))
        keys, weights = votes.sums()
        points, observed = np.divmod(keys, self._blocks.label_count)
        first = points < len(old)
        points, observed, weights = points[first], observed[first], weights[first]
        labels = old["label"][points]

        def summed(values: FloatArray) -> FloatArray:
            return np.bincount(points, values, minlength=len(old)).astype(np.float64)

        total = summed(weights)
        heard = total >= self._rules.least_votes
        share = np.where(heard, total, 1.0)
        says = summed(weights * self._says[observed, labels]) / share
        agreeing = summed(weights * self._alike[observed, labels]) / share
        return np.where(heard, says, np.nan), agreeing

    def _same_places(self, old: MapPoints, own: MapPoints) -> tuple[IndexArray, IndexArray]:
        """For each own point (N,) the old one that it is, and one of another look in its place.

        -1 where there is none. Points that are seen from another side are others.
        """
        same, contrary = np.full((2, len(own)), -1, np.int64)
        if len(old) == 0 or len(own) == 0:
            return same, contrary
        rules = self._rules
        radius = np.maximum(rules.same_place_m, rules.same_place_share * own.min_range)
        distance, found = cKDTree(old.points).query(own.points, _NEIGHBOURS)
        near = distance <= radius[:, None]
        found = np.where(near, found, 0)
        cosine = np.einsum("nd,nkd->nk", own.directions, old.directions[found])
        near &= cosine >= np.cos(np.radians(self._settings.view_angle_deg))
        alike = self._alike[own.labels[:, None], old.labels[found]]
        rows = np.arange(len(own))
        for target, fits in ((same, near & alike), (contrary, near & ~alike)):
            column = fits.argmax(axis=1)  # the nearest
            target[:] = np.where(fits.any(axis=1), found[rows, column], -1)
        return same, np.where(same >= 0, -1, contrary)

    def _aged(
        self, old: Records, supports: Mask, contradicts: Mask, replaced: Mask
    ) -> tuple[Records, Mask]:
        """SESSIONS after this drive, and which points go."""
        support = np.minimum(old["supported"], self._rules.most_support).astype(np.int64)
        against = old["contradicted"].astype(np.int64) + contradicts
        gone = contradicts & (against >= np.where(replaced, support, support + 1))
        sessions = np.zeros(len(old), SESSIONS)
        sessions["supported"] = np.minimum(old["supported"].astype(np.int64) + supports, _MOST)
        sessions["contradicted"] = np.where(supports, 0, np.minimum(against, _MOST))
        return sessions, gone

    def _revoted(
        self, points: MapPoints, old: Records, heard: Mask, agreeing: FloatArray
    ) -> MapPoints:
        """With the confidence of this drive's votes and those before, a share for each drive."""
        before = np.clip(old["supported"], 1, self._rules.most_support).astype(np.float64)
        mean = (before * points.confidence + agreeing) / (before + 1.0)
        confidence = np.where(heard, np.clip(mean, 0.0, 1.0), points.confidence)
        return dataclasses.replace(points, confidence=confidence)

    def _keyframes(self, key: int) -> tuple[Records, int]:
        """The old key frames of a block, and those of the drive where there was none; how many."""
        old, own = self._old.keyframes(key), self._blocks.keyframes(key)
        if len(old) and len(own):
            T_old, T_own = decoded_poses(old), decoded_poses(own)
            tree = cKDTree(T_old[:, :3, 3])
            distance, found = tree.query(T_own[:, :3, 3], min(_NEIGHBOURS, len(old)))
            distance, found = distance.reshape(len(own), -1), found.reshape(len(own), -1)
            turn = poses.rotation_angle(poses.compose(poses.invert(T_own)[:, None], T_old[found]))
            near = distance <= 2.0 * self._settings.keyframe_spacing_m
            own = own[~(near & (turn <= _KEYFRAME_TURN)).any(axis=1)]
        return np.concatenate([old, own]), len(own)


def _widened(points: MapPoints, own: MapPoints, same: IndexArray) -> MapPoints:
    """Points that can also be seen from where the drive's same points (N,) were: -1 is none."""
    merged = np.flatnonzero(same >= 0)
    target = same[merged]
    nearest, farthest = points.min_range.copy(), points.max_range.copy()
    np.minimum.at(nearest, target, own.min_range[merged])
    np.maximum.at(farthest, target, own.max_range[merged])
    return dataclasses.replace(points, min_range=nearest, max_range=farthest)
