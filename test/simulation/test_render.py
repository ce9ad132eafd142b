import subprocess
import sys

import cv2
import numpy as np
import pytest

from fgsn_ros.simulation.drive import DriveSettings, SimulatedDrive
from fgsn_ros.simulation.materials import CLASS_NAMES
from fgsn_ros.simulation.seasons import Season

SIZE = {"width": 200, "height": 120, "threads": 1}
CLASS = {name: index for index, name in enumerate(CLASS_NAMES)}


def drive(town, season=Season.SUMMER, **changes):
    settings = {**SIZE, "duration_s": 1.0, "start_m": 40.0, "season": season, **changes}
    return SimulatedDrive(DriveSettings(town_seed=5, **settings), town)


@pytest.fixture(scope="module")
def seasons(town):
    return {season: drive(town, season).render(0) for season in Season}


def test_same_settings_give_the_same_frames_to_the_bit(town, seasons):
    again = drive(town, threads=2)
    np.testing.assert_array_equal(again.render(0).image, seasons[Season.SUMMER].image)
    short = drive(town, duration_s=0.2)
    twice = [[frame.image for frame in short.frames()] for _ in range(2)]
    assert len(twice[0]) == short.frame_count == 3
    np.testing.assert_array_equal(*twice)


def test_frames_have_the_size_and_stamps_of_the_recording(town):
    simulated = drive(town, duration_s=0.2)
    frames = list(simulated.frames())
    assert [frame.stamp for frame in frames] == [0.0, 0.1, 0.2]
    assert all(frame.image.shape == (120, 200, 3) for frame in frames)
    assert simulated.cameras["camera"].camera.is_distorted


def test_another_drive_seed_gives_other_cars_in_the_same_town(town, seasons):
    other = drive(town, drive_seed=2)
    other_vehicles = other.render(0).classes == CLASS["vehicle"]
    vehicles = seasons[Season.SUMMER].classes == CLASS["vehicle"]
    assert np.mean(vehicles != other_vehicles) > 0.005


def test_a_street_shows_road_buildings_and_sky(seasons):
    classes = seasons[Season.SUMMER].classes
    share = np.bincount(classes.reshape(-1), minlength=len(CLASS_NAMES)) / classes.size
    assert share[CLASS["road"]] > 0.1
    assert share[CLASS["building"]] + share[CLASS["window"]] > 0.02
    assert share[CLASS["sky"]] > 0.05
    assert np.mean(classes[-10:] == CLASS["road"]) > 0.5


def test_sky_has_infinite_depth_and_nothing_else_has(seasons):
    for frame in seasons.values():
        np.testing.assert_array_equal(np.isinf(frame.depth), frame.classes == CLASS["sky"])
        assert (frame.depth > 0.3).all()


def test_geometry_of_the_town_is_the_same_in_every_season(town):
    # The same pose in two seasons: road and buildings keep their depth where no car stands
    frames = []
    for season in (Season.SUMMER, Season.RAIN):
        simulated = drive(town, season, wander_m=0.0, stops=False, min_speed=8.0, max_speed=8.0)
        simulated._renderer()
        T = drive(town, wander_m=0.0).T_map_camera(0)
        renderer, cars = simulated._scene
        frames.append(renderer.render(T, T, [None] * len(cars), 0))
    fixed = np.isin(frames[0].classes, [CLASS["road"], CLASS["building"], CLASS["roof"]])
    fixed &= frames[0].surfaces == frames[1].surfaces
    assert fixed.mean() > 0.2
    np.testing.assert_array_equal(frames[0].depth[fixed], frames[1].depth[fixed])
    np.testing.assert_array_equal(frames[0].classes[fixed], frames[1].classes[fixed])


def test_seasons_look_as_they_are_named(seasons):
    brightness = {season: frame.image.mean() for season, frame in seasons.items()}
    assert brightness[Season.NIGHT] < 0.6 * min(
        value for season, value in brightness.items() if season is not Season.NIGHT
    )

    def mean_colour(season, name):
        return seasons[season].image[seasons[season].classes == CLASS[name]].mean(axis=0)

    snow, grass = mean_colour(Season.WINTER, "terrain"), mean_colour(Season.SUMMER, "terrain")
    assert snow.mean() > 1.2 * grass.mean()
    assert np.ptp(snow) < 0.2 * snow.mean()  # snow is white, grass green
    assert grass[1] > 1.1 * grass[2]


def test_deciduous_trees_are_bare_in_winter_and_coloured_in_autumn(town):
    frames = {
        season: drive(town, season, start_m=100.0).render(0)
        for season in (Season.SUMMER, Season.AUTUMN, Season.WINTER)
    }
    share = {s: np.mean(frame.classes == CLASS["foliage"]) for s, frame in frames.items()}
    assert share[Season.WINTER] < 0.6 * share[Season.SUMMER]
    summer, autumn = (
        frames[s].image[frames[s].classes == CLASS["foliage"]].mean(axis=0)
        for s in (Season.SUMMER, Season.AUTUMN)
    )
    assert autumn[0] / autumn[1] > 1.15 * summer[0] / summer[1]


def test_sift_matches_two_summer_drives(town):
    size = {"width": 480, "height": 360}
    images = [drive(town, drive_seed=seed, **size).render(0).image for seed in (1, 2)]
    sift = cv2.SIFT_create(2000)
    (points_1, first), (points_2, second) = (sift.detectAndCompute(i, None) for i in images)
    pairs = cv2.BFMatcher().knnMatch(first, second, k=2)
    good = [a for a, b in pairs if a.distance < 0.75 * b.distance]
    source = np.array([points_1[m.queryIdx].pt for m in good])
    target = np.array([points_2[m.trainIdx].pt for m in good])
    _, inliers = cv2.findFundamentalMat(source, target, cv2.FM_RANSAC, 1.5, 0.999)
    assert int(inliers.sum()) > 60


def test_a_drive_is_described_without_what_only_rendering_needs():
    code = "import sys; from fgsn_ros.simulation import bags, drive; print('open3d' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    assert done.stdout.strip() == "False"
