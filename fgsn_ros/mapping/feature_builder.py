"""The local features of a drive: found in its images, tracked, put aside by block, written."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from fgsn_ros.config import require
from fgsn_ros.geometry import poses
from fgsn_ros.geometry.cameras import CameraMount
from fgsn_ros.mapping.blocks import Spill, block_side_m
from fgsn_ros.mapping.descriptors import (
    RATIOS,
    SIZES,
    TYPES,
    FeatureSettings,
    ImageFeatures,
    Kind,
    feature_extractor,
)
from fgsn_ros.mapping.feature_tracks import Described, FeaturePoints, FeatureTracks
from fgsn_ros.mapping.local_features import FeatureWriter
from fgsn_ros.mapping.map_records import FloatArray, MapPoints, Records, pack, tiles_of
from fgsn_ros.mapping.places import PlaceCodes, pooled_labels, pooled_size
from fgsn_ros.mapping.structure import MotionGate, PosedFrame, StructureSettings
from fgsn_ros.segmentation.checkpoint import Checkpoint
from fgsn_ros.segmentation.labels import LabelMap

_FIRST_METRES = 10.0
"""A robot that turns on the spot may have the features of so many metres."""
_FITTED_IMAGES = 1000
"""Place codes are fitted to so many images of the drive."""


@dataclass(frozen=True)
class LocalFeatureSettings:
    """Local features in the map, which `fgsn locate` matches images with."""

    kind: Literal["sift", "xfeat", "none"] = "sift"
    """What describes them: RootSIFT; XFeat, which takes the extra xfeat; none: the map has no local
    features, and images cannot be located."""
    per_m: float = 60.0
    """Most points for a metre of the drive, those that the most images show; > 0. A point takes
    141 bytes with RootSIFT and 77 with XFeat, so that 60 are 8.5 or 4.6 MB for a kilometre."""
    view_spacing_m: float = 2.0
    """Distance between images of a camera that are kept as places [m]. > 0."""
    ratio: float | None = None
    """Largest ratio of the distances to the best and to the second match from image to image;
    above 0, at most 1. None: 0.8 of RootSIFT, 0.95 of XFeat, whose descriptors are more alike."""
    guided_px: float | None = None
    """Features of two images match only this near the line on which the poses of the images allow
    it [px], > 0: with exact poses there are far fewer rivals, and more matches, as between images
    that are far apart. None: wherever they are."""
    among_points: bool = False
    """Put them among the points that labels are weighed at, too: where images are too far apart
    for points to be tracked, most are these."""
    image: FeatureSettings = field(default_factory=FeatureSettings)

    def __post_init__(self) -> None:
        """Check the ranges."""
        require(self.guided_px is None or self.guided_px > 0.0, "guided_px must be above 0")
        require(self.per_m > 0.0, "per_m must be above 0")
        require(self.view_spacing_m > 0.0, "view_spacing_m must be above 0")
        known = self.ratio is None or 0.0 < self.ratio <= 1.0
        require(known, "ratio must be above 0 and at most 1")


def feature_record(kind: Kind) -> np.dtype[Any]:
    """Record of a point with its descriptor."""
    vectors = [("points", "<f8", (3,)), ("directions", "<f8", (3,))]
    numbers = [("labels", "<u2"), *((name, "<f8") for name in _NUMBERS)]
    return np.dtype([*vectors, *numbers, ("descriptor", TYPES[kind], (SIZES[kind],))])


def _image_record(label_count: int) -> np.dtype[Any]:
    pooled = ("pooled", "<f2", (pooled_size(label_count),))
    return np.dtype([("T", "<f8", (4, 4)), ("shares", "<f4", (label_count,)), pooled])


_NUMBERS = ("confidence", "min_range", "max_range")


class FeatureBuilder:
    """Gathers the features of a drive frame by frame, then writes them into a map's folder."""

    def __init__(
        self,
        scratch: Path,
        cameras: Mapping[str, CameraMount],
        label_count: int,
        kind: Kind,
        settings: LocalFeatureSettings,
        structure: StructureSettings,
        tile_size_m: float,
        across_cameras: bool = False,
    ) -> None:
        """Begin.

        Args:
            scratch: Folder of what is put aside.
            cameras: By name.
            label_count: Of the network.
            kind: Of the features.
            settings: Of them.
            structure: How points are made of their tracks.
            tile_size_m: Of the map.
            across_cameras: Match each frame with the one before whatever camera took it, as of
                photos that have a camera each; else with the last of its camera.
        """
        self._settings = settings
        self._tile_size_m, self._side_m = tile_size_m, block_side_m(tile_size_m)
        self._kind: Kind = kind
        self._cameras = cameras
        self._label_count = label_count
        self.extract = feature_extractor(kind, settings.image)
        """Features of an image; not from two threads at once."""
        triangulation, min_views = structure.triangulation, structure.tracks.min_views
        ratio = RATIOS[kind] if settings.ratio is None else settings.ratio
        self._row = {name: "" if across_cameras else name for name in cameras}
        rows = dict.fromkeys(self._row.values())
        self._tracks = {
            row: FeatureTracks(label_count, ratio, min_views, triangulation, settings.guided_px)
            for row in rows
        }
        self._gates = {row: MotionGate(settings.view_spacing_m, 20.0) for row in rows}
        self._point, self._image = feature_record(kind), _image_record(label_count)
        self._points = Spill(scratch / "feature_points", self._point)
        self._images = Spill(scratch / "feature_images", self._image)
        self._keys: set[int] = set()
        self._image_count = 0
        self._last_position: FloatArray | None = None
        self._allowed = _FIRST_METRES * settings.per_m

    def close(self) -> None:
        """Let go of the files."""
        self._points.close()
        self._images.close()

    def add(self, posed: PosedFrame, features: ImageFeatures, label_map: LabelMap | None) -> None:
        """Track features into a frame; one with labels may be kept as a place."""
        camera, position = posed.frame.camera, posed.T_map_base[:3, 3]
        if self._last_position is not None:
            metres = float(np.linalg.norm(position - self._last_position))
            self._allowed += metres * self._settings.per_m
        self._last_position = position
        mount, row = self._cameras[camera], self._row[camera]
        T_map_camera = poses.compose(posed.T_map_base, mount.T_base_camera)
        self._tracks[row].add(features, mount.camera, T_map_camera, label_map)
        if label_map is not None and self._gates[row].passes(T_map_camera):
            self._add_image(T_map_camera, label_map)

    def _add_image(self, T_map_camera: FloatArray, label_map: LabelMap) -> None:
        labels = label_map.labels[label_map.labels < self._label_count]
        counts = np.bincount(labels, minlength=self._label_count)
        record = np.zeros(1, self._image)
        record["T"], record["shares"] = T_map_camera, counts / max(counts.sum(), 1)
        record["pooled"] = pooled_labels(label_map)
        (key,) = self._keys_of(T_map_camera[None, :3, 3]).tolist()
        self._images.add(key, record)
        self._keys.add(key)
        self._image_count += 1

    def put_aside(self, all_of_them: bool = False) -> None:
        """Triangulate the tracks that ended, or all, and put the best points aside."""
        for tracks in self._tracks.values():
            described = tracks.take_ended(all_of_them)
            if described is not None:
                self._keep(self._best(described))

    @property
    def keys(self) -> list[int]:
        """Blocks with features or images."""
        return sorted(self._keys)

    def block(
        self, key: int, checkpoint: Checkpoint, min_stationary: float | None
    ) -> tuple[FeaturePoints, Records]:
        """Features of a block with labels of a large enough stationary share, and its images.

        The images are records of T_map_camera (`T`), label `shares` and `pooled` labels.
        """
        features = features_of(self._points.read(key))
        if checkpoint.stationary is not None and min_stationary is not None:
            shares = checkpoint.stationary[features.points.labels]
            features = features[shares >= min_stationary]
        return features, self._images.read(key)

    def _best(self, described: Described) -> FeaturePoints:
        """As many points as the metres driven allow, those that the most images show."""
        features, views = described
        count = min(len(features), int(self._allowed))
        self._allowed -= count
        return features[np.argsort(-views, kind="stable")[:count]]

    def _keep(self, features: FeaturePoints) -> None:
        points = features.points
        records = feature_records(features, self._kind)
        keys = self._keys_of(points.points)
        for key in np.unique(keys).tolist():
            self._points.add(key, records[keys == key])
            self._keys.add(key)

    def _keys_of(self, positions: NDArray[np.floating]) -> NDArray[np.int64]:
        return pack(tiles_of(positions, self._side_m))

    def write(self, folder: Path, checkpoint: Checkpoint, min_stationary: float | None) -> int:
        """Write what was put aside into a map's folder; the number of points.

        Points of labels with a smaller stationary share than min_stationary are left out.
        """
        writer = FeatureWriter(
            folder,
            self._kind,
            self._label_count,
            checkpoint.fingerprint,
            self._tile_size_m,
            PlaceCodes.fitted(self._some_pooled()),
        )
        for key in self.keys:
            features, images = self.block(key, checkpoint, min_stationary)
            pooled, shares = (images[name].astype(np.float32) for name in ("pooled", "shares"))
            writer.add(features, images["T"], pooled, shares)
        writer.close()
        return writer.point_count

    def _some_pooled(self) -> NDArray[np.float32]:
        """Pooled labels of images all along the drive."""
        step = -(-self._image_count // _FITTED_IMAGES)
        parts = (self._images.read(key)["pooled"][::step] for key in sorted(self._keys))
        return np.concatenate([part.astype(np.float32) for part in parts])


def feature_records(features: FeaturePoints, kind: Kind) -> Records:
    """Records of features; `features_of` reads them."""
    records = np.zeros(len(features), feature_record(kind))
    for name in ("points", "directions", "labels", *_NUMBERS):
        records[name] = getattr(features.points, name)
    records["descriptor"] = features.descriptors
    return records


def features_of(records: Records) -> FeaturePoints:
    """Features of records."""
    points = MapPoints(
        *(records[name] for name in ("points", "labels", "confidence", "directions")),
        *(records[name] for name in ("min_range", "max_range")),
    )
    return FeaturePoints(points, records["descriptor"])
