import cv2
import numpy as np
import pytest

from fgsn_ros.correspondences.files import CorrespondenceFolder, read_correspondence
from fgsn_ros.correspondences.simulated import (
    CorrespondenceDriveSettings,
    correspond,
    view,
    write_correspondences,
)
from fgsn_ros.errors import OutputError, SettingsError
from fgsn_ros.geometry import poses
from fgsn_ros.simulation.drive import DriveSettings, SimulatedDrive
from fgsn_ros.simulation.materials import VEHICLE
from fgsn_ros.simulation.seasons import Season


@pytest.fixture(scope="module")
def views(town):
    result = []
    for seed, season, start in ((1, Season.SUMMER, 40.0), (2, Season.WINTER, 43.0)):
        settings = DriveSettings(
            town_seed=5, season=season, drive_seed=seed, duration_s=0.5, start_m=start,
            width=320, height=200, threads=1,
        )  # fmt: skip
        result.append(view(SimulatedDrive(settings, town), 0))
    return result


def at(image, points):
    u, v = np.rint(points).astype(int).T
    return image[v, u]


def map_points(seen, points):
    rays, _ = seen.camera.unproject(points)
    depth = at(seen.frame.depth, points).astype(float)
    return poses.transform(seen.T_map_camera, rays * depth[:, None])


def test_corresponding_pixels_show_the_same_point(views):
    reference, target = views
    first, second = correspond(reference, target, 800, np.random.default_rng(1))
    assert len(first) > 400
    points = map_points(reference, first)
    projected, valid = target.camera.project(
        poses.transform(poses.invert(target.T_map_camera), points)
    )
    assert valid.all()
    assert np.abs(projected - second).max() < 1.0
    # Seen from the target on its own, the point is the same up to a pixel's size in depth
    distance = np.linalg.norm(map_points(target, second) - points, axis=1)
    pixel = at(target.frame.depth, second) / target.camera.fx
    assert np.median(distance / pixel) < 2.0


def test_corresponding_pixels_have_the_same_class_and_stand_still(views):
    reference, target = views
    first, second = correspond(reference, target, 500, np.random.default_rng(2))
    classes = at(reference.frame.classes, first)
    np.testing.assert_array_equal(classes, at(target.frame.classes, second))
    assert not (classes == VEHICLE).any()
    assert len(np.unique(classes)) >= 4


def test_a_view_corresponds_to_itself_without_shift(views):
    first, second = correspond(views[0], views[0], 300, np.random.default_rng(3))
    assert len(first) > 200
    np.testing.assert_allclose(first, second, atol=1e-4)


def test_folder_holds_images_classes_and_readable_files(tmp_path):
    settings = CorrespondenceDriveSettings(
        first_town=5, towns=1, validation_towns=0, seasons=(Season.NIGHT,), length_m=8.0,
        spacing_m=4.0, points=300, width=160, height=96, threads=1,
    )  # fmt: skip
    folder = CorrespondenceFolder(tmp_path / "pairs")
    write_correspondences(folder.root, settings)
    files = folder.train_files()
    assert len(files) >= 2
    pair = read_correspondence(files[0])
    assert "summer" in pair.reference_image
    assert "night" in pair.target_image
    for name, points in (
        (pair.reference_image, pair.reference_points),
        (pair.target_image, pair.target_points),
    ):
        image = cv2.imread(str(folder.images / name))
        classes = cv2.imread(str(folder.class_path(name)), cv2.IMREAD_UNCHANGED)
        assert image.shape == (96, 160, 3)
        assert classes.shape == (96, 160)
        assert (points >= -0.5).all()
        assert (points < [159.5, 95.5]).all()
        assert classes.max() < len(folder.class_names())
    with pytest.raises(OutputError):
        write_correspondences(folder.root, settings)


def test_settings_out_of_range_are_refused():
    with pytest.raises(SettingsError):
        CorrespondenceDriveSettings(towns=0)
