import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from corridor import Corridor, TintSegmenter, surface_distances

from fgsn_ros.errors import MapError, SettingsError
from fgsn_ros.geometry import poses
from fgsn_ros.mapping.builder import MapSettings, write_map
from fgsn_ros.mapping.descriptors import feature_extractor, mutual_matches
from fgsn_ros.mapping.feature_builder import LocalFeatureSettings
from fgsn_ros.mapping.feature_tracks import FeaturePoints, off_epipolar_lines
from fgsn_ros.mapping.local_features import FOLDER, FeatureWriter, load_local_features
from fgsn_ros.mapping.map_files import load_map
from fgsn_ros.mapping.map_records import MapPoints
from fgsn_ros.mapping.places import PlaceCodes, pooled_labels, pooled_size

EVERYWHERE = np.zeros(3), 1e4


@pytest.fixture(scope="module")
def corridor(tmp_path_factory):
    """A corridor, and the folder of its map."""
    folder = tmp_path_factory.mktemp("features") / "map"
    recording = Corridor()
    write_map(folder, recording, TintSegmenter())
    return recording, folder


@pytest.fixture
def copied(corridor, tmp_path):
    """A copy of the map, to damage."""
    return shutil.copytree(corridor[1], tmp_path / "map")


def opened(folder):
    return load_local_features(folder, load_map(folder))


def test_features_lie_on_the_surfaces_with_their_labels(corridor):
    features = opened(corridor[1]).near(*EVERYWHERE)
    points = features.points
    distance = surface_distances(points.points.astype(np.float64))
    assert len(points) > 200
    assert np.mean(distance.min(axis=1) < 0.05 * points.min_range) > 0.95
    clear = np.sort(distance, axis=1)[:, 1] > 1.0
    assert np.mean(points.labels[clear] == distance.argmin(axis=1)[clear]) > 0.98


def test_an_image_of_the_drive_matches_the_features_where_it_shows_them(corridor):
    recording, folder = corridor
    local = opened(folder)
    T = recording.ground_truth.poses[7]
    seen = feature_extractor(local.kind)(recording.render(T)[0])
    features = local.near(T[:3, 3], 60.0)
    rows, columns = mutual_matches(seen.descriptors, features.descriptors, 0.9)
    mount = recording.cameras["camera"]
    T_map_camera = T @ mount.T_base_camera
    offsets = features.points.points[columns] - T_map_camera[:3, 3]
    pixels, _ = mount.camera.project(offsets @ T_map_camera[:3, :3])
    errors = np.linalg.norm(pixels - seen.pixels[rows], axis=1)
    assert len(rows) > 50
    assert np.nanmedian(errors) < 1.0


def test_only_the_tiles_around_a_position_are_read(corridor):
    local = opened(corridor[1])
    near = local.near(np.array([4.0, 0.0, 0.0]), 1.0)
    assert 0 < len(near) < len(local.near(*EVERYWHERE))
    assert (np.floor(near.points.points[:, 0] / 10.0) == 0).all()


def test_the_image_most_like_a_view_was_taken_there(corridor):
    recording, folder = corridor
    local = opened(folder)
    segment, mount = TintSegmenter().segment, recording.cameras["camera"]
    assert len(local.codes) == len(local.T_map_camera) >= 4
    for T_map_camera in local.T_map_camera:
        image, _ = recording.render(T_map_camera @ np.linalg.inv(mount.T_base_camera))
        code = local.place_codes.of(pooled_labels(segment(image))[None])[0]
        alike = local.T_map_camera[(local.codes @ code).argmax()]
        assert np.linalg.norm(alike[:3, 3] - T_map_camera[:3, 3]) < 0.1


def test_the_metres_driven_bound_the_number_of_points(tmp_path):
    few = MapSettings(local_features=LocalFeatureSettings(per_m=2.0))
    write_map(tmp_path / "map", Corridor(), TintSegmenter(), few)
    metres = 15 * 0.6
    assert len(opened(tmp_path / "map").tiles.points) <= 2.0 * (metres + 10.0) + 1


def test_points_on_labels_that_are_not_stationary_are_left_out(tmp_path):
    stationary = np.array([1.0, 0.0, 1.0, 1.0], np.float32)
    write_map(tmp_path / "map", Corridor(), TintSegmenter(stationary))
    labels = opened(tmp_path / "map").near(*EVERYWHERE).points.labels
    assert set(np.unique(labels)) == {0, 2, 3}


def test_a_map_without_local_features_serves_tracking_but_not_locating(tmp_path):
    without = MapSettings(local_features=LocalFeatureSettings(kind="none"))
    semantic_map = write_map(tmp_path / "map", Corridor(), TintSegmenter(), without)
    assert len(semantic_map) > 500
    assert not (tmp_path / "map" / FOLDER).exists()
    with pytest.raises(MapError, match="has no local features to locate images by"):
        load_local_features(tmp_path / "map", semantic_map)


def test_building_twice_gives_the_same_files(corridor, tmp_path):
    write_map(tmp_path / "map", *(corridor[0], TintSegmenter()))
    for path in sorted((corridor[1] / FOLDER).iterdir()):
        assert path.read_bytes() == (tmp_path / "map" / FOLDER / path.name).read_bytes(), path.name


def test_what_is_written_is_read_in_whatever_order_it_came(tmp_path):
    rng = np.random.default_rng(0)
    count, images = 300, 20
    directions = rng.normal(size=(count, 3))
    points = MapPoints(
        rng.uniform(-40.0, 40.0, (count, 3)),
        rng.integers(0, 5, count).astype(np.uint16),
        np.ones(count),
        directions / np.linalg.norm(directions, axis=1, keepdims=True),
        np.full(count, 2.0),
        np.full(count, 30.0),
    )
    descriptors = rng.integers(0, 256, (count, 128)).astype(np.uint8)
    T_map_camera = np.tile(np.eye(4), (images, 1, 1))
    T_map_camera[:, :2, 3] = rng.uniform(-40.0, 40.0, (images, 2))
    pooled = rng.random((images, pooled_size(5)))
    shares = np.full((images, 5), 0.2)
    codes = PlaceCodes.fitted(pooled)
    writer = FeatureWriter(tmp_path, "sift", 5, "ab" * 32, 10.0, codes)
    writer.add(FeaturePoints(points, descriptors), T_map_camera, pooled, shares)
    writer.close()
    local = load_local_features(tmp_path, load_map(tmp_path / FOLDER))
    read = local.near(*EVERYWHERE)
    for position, descriptor in zip(read.points.points, read.descriptors, strict=True):
        nearest = np.abs(points.points - position).max(axis=1).argmin()
        np.testing.assert_array_equal(descriptor, descriptors[nearest])
    for T, code in zip(local.T_map_camera, local.codes, strict=True):
        nearest = np.abs(T_map_camera - T).max(axis=(1, 2)).argmin()
        np.testing.assert_allclose(code, codes.of(pooled[nearest][None])[0], atol=1e-3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": "another"}, "does not describe local features"),
        ({"kind": "orb"}, "local features of kind 'orb', version 1, not sift, xfeat of version 1"),
        ({"version": 2}, "of kind 'sift', version 2"),
        ({"code_size": 10**9}, "code_size must be in 1..128"),
        ({"code_size": "8"}, "code_size must be in 1..128"),
    ],
    ids=str,
)
def test_a_wrong_kind_is_refused(copied, change, message):
    path = copied / FOLDER / "kind.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(MapError, match=message):
        opened(copied)


@pytest.mark.parametrize(
    "name",
    [
        "descriptors.npy",
        "places.npy",
        "place_mean.npy",
        "place_projection.npy",
        "points.npy",
        "kind.json",
        "meta.json",
    ],
)
def test_files_that_are_missing_or_cut_short_are_refused(copied, name):
    path = copied / FOLDER / name
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(MapError):
        opened(copied)
    path.unlink()
    with pytest.raises(MapError):
        opened(copied)


def test_local_features_of_another_checkpoint_are_refused(copied):
    semantic_map = replace(load_map(copied), fingerprint="ef" * 32)
    with pytest.raises(MapError, match="labelled by checkpoint cdcdcdcdcdcd, not by the given"):
        load_local_features(copied, semantic_map)


@pytest.mark.parametrize(
    "values", [{"per_m": 0.0}, {"view_spacing_m": 0.0}, {"ratio": 1.1}], ids=str
)
def test_settings_are_checked(values):
    with pytest.raises(SettingsError):
        LocalFeatureSettings(**values)


def test_a_point_lies_on_the_line_where_another_camera_sees_its_ray():
    rng = np.random.default_rng(3)
    points = np.c_[rng.uniform(-4.0, 4.0, (40, 2)), rng.uniform(4.0, 40.0, 40)]
    T_other_camera = poses.from_xyz_rpy([0.3, -0.2, -2.0], [0.02, -0.05, 0.1])
    others = points @ T_other_camera[:3, :3].T + T_other_camera[:3, 3]
    rays, seen = (each[:, :2] / each[:, 2:] for each in (points, others))
    off = off_epipolar_lines(rays, seen, T_other_camera)
    assert off.shape == (40, 40)
    np.testing.assert_allclose(np.diag(off), 0.0, atol=1e-6)
    # Moved across its line, by as much as it is moved.
    T_aside = poses.from_xyz_rpy([1.0, 0.0, 0.0], [0.0, 0.0, 0.0])
    aside = off_epipolar_lines(rays, rays + np.array([0.7, 0.25]), T_aside)
    np.testing.assert_allclose(np.diag(aside), 0.25, atol=1e-6)
    assert not off_epipolar_lines(rays, seen[:7], np.eye(4)).any()


def test_matches_that_the_poses_guide_give_more_points_on_the_surfaces(tmp_path):
    # Every third image, and a strict ratio: few matches are left where nothing guides them.
    recording = Corridor(frames=6, step_m=1.8)
    counts = []
    for guided_px in (None, 1.5):
        local_features = LocalFeatureSettings(per_m=1000.0, ratio=0.5, guided_px=guided_px)
        folder = tmp_path / str(guided_px)
        write_map(folder, recording, TintSegmenter(), MapSettings(local_features=local_features))
        points = opened(folder).tiles.all_points()
        counts.append(len(points))
        distance = surface_distances(points.points.astype(np.float64)).min(axis=1)
        assert np.mean(distance < 0.05 * points.min_range) > 0.9
    assert counts[1] > 1.2 * counts[0]


def test_points_of_features_stand_among_the_others_if_wanted(corridor, tmp_path):
    local_features = LocalFeatureSettings(among_points=True)
    folder = tmp_path / "map"
    write_map(folder, Corridor(), TintSegmenter(), MapSettings(local_features=local_features))
    alone, both = (load_map(path).all_points() for path in (corridor[1], folder))
    described = opened(folder).tiles.all_points()
    believed = described.confidence >= MapSettings().min_agreement
    assert len(both) == len(alone) + int(believed.sum())
    # Both are rounded, each in its own file.
    off = np.linalg.norm(described.points[believed][:, None] - both.points, axis=2).min(axis=1)
    assert off.max() < 0.01


@pytest.mark.parametrize("guided_px", [0.0, -1.0])
def test_the_distance_that_guides_is_above_0(guided_px):
    with pytest.raises(SettingsError):
        LocalFeatureSettings(guided_px=guided_px)
