from itertools import pairwise

import cv2
import numpy as np
import pytest

from fgsn_ros.errors import SettingsError
from fgsn_ros.geometry import poses
from fgsn_ros.geometry.cameras import Camera
from fgsn_ros.simulation import lens
from fgsn_ros.simulation import materials as mat
from fgsn_ros.simulation.buildings import SIDE_SEED
from fgsn_ros.simulation.changed_town import bins, grown, repaint
from fgsn_ros.simulation.drive import DriveSettings, SimulatedDrive
from fgsn_ros.simulation.materials import CLASS_NAMES
from fgsn_ros.simulation.seasons import Season, conditions

SIZE = {"width": 200, "height": 120, "threads": 1}
STANDING = [CLASS_NAMES.index(name) for name in ("road", "building", "roof", "pavement")]


def drive(town, season=Season.SUMMER, **changes):
    settings = {**SIZE, "duration_s": 1.0, "start_m": 40.0, "season": season, **changes}
    return SimulatedDrive(DriveSettings(town_seed=5, **settings), town)


def seen_from(simulated, T):
    """A frame of the drive's scene at a given pose, with no car on the road."""
    renderer, cars = simulated._renderer()
    return renderer.render(T, T, [None] * len(cars), 0)


def matches(first, second):
    sift = cv2.SIFT_create(1000)
    found = [sift.detectAndCompute(image, None)[1] for image in (first, second)]
    pairs = cv2.BFMatcher().knnMatch(*found, k=2)
    return sum(a.distance < 0.75 * b.distance for a, b in pairs)


@pytest.mark.parametrize("season", [Season.WINTER, Season.NIGHT, Season.RAIN])
def test_a_changed_drive_is_the_same_to_the_bit_however_often_it_is_rendered(town, season):
    first, second = (drive(town, season, change=0.8).render(3).image for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_no_change_leaves_conditions_and_images_as_they_are(town):
    plain, none = drive(town), drive(town, change=0.0)
    assert plain.conditions == none.conditions
    assert plain.conditions.aged == plain.conditions.shutter_s == plain.conditions.veil == 0.0
    np.testing.assert_array_equal(plain.render(0).image, none.render(0).image)


@pytest.mark.parametrize("season", list(Season))
def test_change_keeps_route_odometry_and_the_geometry_of_walls_and_ground(town, season):
    plain, changed = drive(town, season), drive(town, season, change=1.0)
    np.testing.assert_array_equal(plain.ground_truth.poses, changed.ground_truth.poses)
    np.testing.assert_array_equal(plain.odometry.poses, changed.odometry.poses)
    T = plain.T_map_camera(0)
    frames = [seen_from(simulated, T) for simulated in (plain, changed)]
    same = frames[0].surfaces == frames[1].surfaces
    standing = np.isin(frames[0].classes, STANDING) & same
    assert standing.mean() > 0.2
    np.testing.assert_array_equal(frames[0].depth[standing], frames[1].depth[standing])


def test_two_summers_match_less_the_more_the_world_changes(town):
    size = {"width": 480, "height": 360}
    counts = []
    for change in (0.0, 0.5, 1.0):
        pair = [drive(town, drive_seed=s, change=change, **size) for s in (1, 2)]
        seen = [
            [seen_from(simulated, drive(town, start_m=m).T_map_camera(0)).image for m in (40, 90)]
            for simulated in pair
        ]
        counts.append(sum(matches(*images) for images in zip(*seen, strict=True)))
    assert counts[0] > 1.25 * counts[1] > 1.25 * 1.25 * counts[2]


@pytest.mark.parametrize("change", [-0.1, 1.1, float("nan")])
def test_change_out_of_range_is_refused(change):
    with pytest.raises(SettingsError, match="change must be within 0 and 1"):
        DriveSettings(change=change)


def test_some_houses_are_repainted_and_both_kinds_of_their_walls_alike(town):
    table = town.surfaces.copy()
    repaint(table, 1.0, np.random.default_rng(1))
    old = town.surfaces.surfaces
    fronts = [
        i for i, (a, b) in enumerate(pairwise(old))
        if a.material == mat.FACADE and a.width > 0.0 and a.seed + SIDE_SEED == b.seed
    ]  # fmt: skip
    repainted = [table.surfaces[i].colour != old[i].colour for i in fronts]
    rebuilt = [table.surfaces[i].seed != old[i].seed for i in fronts]
    assert 0.1 < np.mean(repainted) < 0.6
    assert 0.0 < np.mean(rebuilt) < 0.3
    for i in fronts:
        front, side = table.surfaces[i], table.surfaces[i + 1]
        assert (front.colour, front.style) == (side.colour, side.style)
        assert (front.seed == old[i].seed) == (side.seed == old[i + 1].seed)
    for new, old in zip(table.surfaces, town.surfaces.surfaces, strict=True):
        assert (new.material, new.kind, new.width, new.height) == (
            old.material, old.kind, old.width, old.height
        )  # fmt: skip


def test_leaves_move_and_walls_stay(town):
    mesh = grown(town.solid, town.surfaces, 1.0, np.random.default_rng(2))
    moved = np.abs(mesh.vertices - town.solid.vertices)[mesh.triangles].max(axis=(1, 2))
    leafy = np.array([s.material in (mat.LEAF, mat.NEEDLE) for s in town.surfaces.surfaces])
    leafy = leafy[mesh.surfaces]
    assert np.median(moved[leafy]) > 0.1
    assert moved[~leafy].max() == 0.0


def test_bins_stand_beside_the_road_on_the_ground(town):
    table = town.surfaces.copy()
    meshes = bins(town, table, 1.0, np.random.default_rng(3))
    assert len(meshes) > 10
    for mesh in meshes:
        xy = mesh.vertices[:, :2].astype(float)
        assert town.street.distance(xy).min() > 5.0
        above = mesh.vertices[:, 2] - town.ground.height(xy)
        assert -0.2 < above.min() < 0.4 < above.max() < 1.6
    assert not bins(town, table, 0.0, np.random.default_rng(3))


def camera():
    return Camera(160, 100, 120.0, 120.0, 79.5, 49.5)


def viewing_rays(model):
    v, u = np.mgrid[: model.height, : model.width]
    return model.unproject(np.stack([u, v], axis=-1).reshape(-1, 2).astype(float))[0]


def test_a_sideways_exposure_smears_a_point_over_the_way_that_it_moves():
    model = camera()
    light = np.zeros((100, 160, 3), np.float32)
    light[50, 80] = 1.0
    depth = np.full(16000, 4.0, np.float32)
    moved = poses.from_xyz_rpy(np.array([0.2, 0.0, 0.0]), np.zeros(3))  # 6 px at 4 m
    blurred = lens.motion_blur(light, viewing_rays(model).astype(np.float32), depth, model, moved)
    columns = np.flatnonzero(blurred[50, :, 0])
    assert (columns.min(), columns.max()) == (77, 83)
    assert np.count_nonzero(np.delete(blurred, 50, axis=0)) == 0
    assert blurred.sum() == pytest.approx(light.sum(), rel=1e-5)


def test_a_camera_at_rest_is_not_blurred():
    model = camera()
    light = np.random.default_rng(0).random((100, 160, 3)).astype(np.float32)
    depth = np.full(16000, np.inf, np.float32)
    rays = viewing_rays(model).astype(np.float32)
    blurred = lens.motion_blur(light, rays, depth, model, np.eye(4))
    np.testing.assert_allclose(blurred, light, atol=1e-4)


def test_the_sun_ahead_veils_more_than_the_sun_behind():
    rays = viewing_rays(camera()).astype(np.float32)  # the optical axis is the map's z
    light = np.ones((100, 160, 3), np.float32)
    given = conditions(Season.AUTUMN, np.random.default_rng(0))._replace(veil=1.0)
    ahead, behind = (
        lens.veiled(light, rays, given._replace(sun_direction=(0.0, 0.0, z))) for z in (1.0, -1.0)
    )
    assert ahead.min() > 1.05
    assert behind.max() < 1.001


def test_drops_change_only_what_lies_under_them():
    light = np.random.default_rng(1).random((100, 160, 3)).astype(np.float32)
    seen = lens.through_drops(light, 3, np.random.default_rng(4))
    changed = np.mean(np.any(seen != light, axis=2))
    assert 0.0005 < changed < 0.1
    np.testing.assert_array_equal(lens.through_drops(light, 0, np.random.default_rng(4)), light)
