"""Local features of a drive that is added to a map: they join it where it has hardly any.

Descriptors do not survive the seasons as labels do: a second set where there is one would double
the map and help one season. What makes the codes of places stays the map's: all can be compared.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from fgsn_ros.geometry.cameras import CameraMount
from fgsn_ros.mapping.blocks import Spill, block_side_m, grouped
from fgsn_ros.mapping.builder import MapSettings
from fgsn_ros.mapping.feature_builder import (
    FeatureBuilder,
    feature_record,
    feature_records,
    features_of,
)
from fgsn_ros.mapping.feature_tracks import FeaturePoints
from fgsn_ros.mapping.local_features import FeatureWriter, LocalFeatures
from fgsn_ros.mapping.map_records import Records, pack, tiles_of
from fgsn_ros.segmentation.checkpoint import Checkpoint

_FAR_MORE = 3
"""Times as many: the map saw the tile from afar, or not at all."""


class AddedFeatures:
    """The local features of a map, and those of a drive in tiles of it that have hardly any."""

    def __init__(
        self,
        scratch: Path,
        old: LocalFeatures,
        cameras: Mapping[str, CameraMount],
        settings: MapSettings,
    ) -> None:
        tiles = old.tiles
        self._old, self._settings = old, settings
        self._side_m = block_side_m(tiles.tile_size_m)
        self.builder = FeatureBuilder(
            scratch,
            cameras,
            tiles.label_count,
            old.kind,
            replace(settings.local_features, kind=old.kind),
            settings.structure,
            tiles.tile_size_m,
        )
        """gathers those of the drive"""
        self._points = Spill(scratch / "old_features", feature_record(old.kind))
        code = ("code", "<f4", (old.codes.shape[1],))
        shares = ("shares", "<f4", (tiles.label_count,))
        image = np.dtype([("T", "<f8", (4, 4)), shares, code])
        self._images = Spill(scratch / "old_images", image)
        self._keys: set[int] = set()
        self._put_aside(image)

    def _put_aside(self, image: np.dtype[np.void]) -> None:
        old = self._old
        for points, rows in old.tiles.parts_with_rows():
            read = [old.descriptors[a:b]["row"] for a, b in rows]
            descriptors = np.concatenate([old.descriptors[:0]["row"], *read])
            records = feature_records(FeaturePoints(points, descriptors), old.kind)
            self._add(self._points, records["points"], records)
        images = np.zeros(len(old.codes), image)
        images["T"], images["shares"] = old.T_map_camera, old.tiles.keyframe_histograms
        images["code"] = old.codes
        self._add(self._images, images["T"][:, :3, 3], images)

    def _add(self, spill: Spill, positions: NDArray[np.float64], records: Records) -> None:
        for key, chosen in grouped(pack(tiles_of(positions, self._side_m))):
            spill.add(key, records[chosen])
            self._keys.add(key)

    def close(self) -> None:
        """Let go of the files."""
        for each in (self.builder, self._points, self._images):
            each.close()

    def write(self, folder: Path, checkpoint: Checkpoint) -> None:
        """Write all of them into a map's folder."""
        old = self._old
        writer = FeatureWriter(
            folder,
            old.kind,
            old.tiles.label_count,
            checkpoint.fingerprint,
            old.tiles.tile_size_m,
            old.place_codes,
        )
        for key in sorted(self._keys.union(self.builder.keys)):
            points, images = self._points.read(key), self._images.read(key)
            features, own = self.builder.block(key, checkpoint, self._settings.min_stationary)
            lacking = self._lacking(features.points.points, points["points"])
            records = feature_records(features[lacking], old.kind)
            own = own[self._new_places(images, own)]
            writer.add_coded(
                features_of(np.concatenate([points, records])),
                np.concatenate([images["T"], own["T"]]),
                np.concatenate([images["code"], old.place_codes.of(own["pooled"])]),
                np.concatenate([images["shares"], own["shares"]]),
            )
        writer.close()

    def _lacking(self, own: NDArray[np.floating], old: NDArray[np.floating]) -> NDArray[np.bool_]:
        """Which of the drive's points (N, 3) lie in tiles where it has far more than the map."""
        size = self._old.tiles.tile_size_m
        tiles = pack(tiles_of(np.concatenate([own, old]), size))
        _, number = np.unique(tiles, return_inverse=True)
        mine, others = number.ravel()[: len(own)], number.ravel()[len(own) :]
        counts = [np.bincount(each, minlength=len(tiles))[mine] for each in (mine, others)]
        return np.asarray(_FAR_MORE * counts[1] < counts[0])

    def _new_places(self, images: Records, own: Records) -> NDArray[np.bool_]:
        """Whether no image of the map was taken near each of the drive's (V,)."""
        if len(images) == 0:
            return np.ones(len(own), np.bool_)
        tree = cKDTree(images["T"][:, :3, 3])
        distance, _ = tree.query(own["T"][:, :3, 3].reshape(-1, 3))
        return np.asarray(distance > 2.0 * self._settings.local_features.view_spacing_m)
