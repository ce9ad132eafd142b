"""Images alone, of a rendered corridor: what is known of their camera and poses without scale."""

import subprocess
import sys

import cv2
import numpy as np
import pytest
from corridor import Corridor

from fgsn_ros.errors import RecordingError
from fgsn_ros.geometry import poses
from fgsn_ros.geometry.trajectory import read_tum
from fgsn_ros.mapping.descriptors import FeatureSettings, ImageFeatures
from fgsn_ros.mapping.sfm.image_matches import burnt_in
from fgsn_ros.mapping.sfm.image_poses import ImagePoseSettings, level, pose_images
from fgsn_ros.mapping.sfm.image_report import image_text, write_image_poses
from fgsn_ros.recordings.camera_files import read_camera
from fgsn_ros.recordings.recording import Frame

SETTINGS = ImagePoseSettings(
    least_motion=0.002, focal_guesses=(0.8,), features=FeatureSettings(features=600)
)
pytest.importorskip("pycolmap")


def photos(drive, logo=False):
    for frame in drive.frames():
        image = frame.image.copy()
        if logo:
            cv2.putText(image, "TV1", (10, 30), cv2.FONT_HERSHEY_SIMPLEX, 1.0, (255, 255, 255), 2)
        yield Frame(frame.stamp, frame.camera, image)


@pytest.fixture(scope="module")
def drive():
    return Corridor(frames=14)


@pytest.fixture(scope="module")
def posed(drive):
    return pose_images(photos(drive, logo=True), 14, "photos", None, SETTINGS)


def aligned_errors(posed, drive):
    """Distances (N,) to the true camera positions after a similarity, in median true steps."""
    true = drive.ground_truth.at(posed.trajectory.stamps)
    true = (true @ drive.cameras["camera"].T_base_camera)[:, :3, 3]
    made = posed.trajectory.poses[:, :3, 3]
    step = np.median(np.linalg.norm(np.diff(true, axis=0), axis=1))
    a, b = made - made.mean(axis=0), (true - true.mean(axis=0)) / step
    U, _, Vt = np.linalg.svd(b.T @ a)
    R = U @ np.diag([1.0, 1.0, np.linalg.det(U @ Vt)]) @ Vt
    return np.linalg.norm(a @ R.T * (b * (a @ R.T)).sum() / (a**2).sum() - b, axis=1)


def test_the_focal_length_is_found_from_a_guess_a_third_too_long(posed):
    # A focal length of 190 px from a guess of 256.
    assert posed.model.camera.fx == pytest.approx(190.0, rel=0.05)
    assert posed.estimated
    assert list(posed.focal_by_guess) == [256.0]


def test_all_images_are_in_one_model_at_their_places(posed, drive):
    assert posed.model.images.tolist() == list(range(14))
    assert aligned_errors(posed, drive).max() < 0.1
    steps = np.linalg.norm(np.diff(posed.trajectory.poses[:, :3, 3], axis=0), axis=1)
    assert np.median(steps) == pytest.approx(1.0)


def test_the_frame_is_level_and_begins_at_the_first_image_looking_ahead(posed, drive):
    first = posed.trajectory.poses[0]
    assert first[:3, 3] == pytest.approx(np.zeros(3), abs=1e-9)
    assert float(poses.to_rpy(first)[2]) == pytest.approx(0.0, abs=1e-9)
    tilts = posed.trajectory.poses[:, 2, :2] - drive.ground_truth.poses[:, 2, :2]
    assert np.abs(tilts).max() < np.radians(2.0)


def test_a_given_calibration_is_kept(drive):
    camera = drive.cameras["camera"].camera
    posed = pose_images(photos(drive), 14, "photos", camera, SETTINGS)
    assert posed.model.camera == camera
    assert not posed.estimated
    assert aligned_errors(posed, drive).max() < 0.1
    assert "calibration" not in image_text({"sessions": [_facts(posed)]})


def _facts(posed):
    from fgsn_ros.mapping.sfm.image_report import image_facts

    return image_facts(posed)["sessions"][0]


def test_what_is_written_says_what_is_unknown_and_can_be_read(posed, tmp_path):
    facts = write_image_poses(tmp_path, posed, picture=False)
    said = image_text(facts)
    assert "scale unknown: no odometry, GPS or poses" in said
    assert "up axis is a guess" in said
    back = read_tum(tmp_path / "photos.tum")
    assert back.poses == pytest.approx(posed.trajectory.poses, abs=1e-6)
    camera, mounting = read_camera(tmp_path / "camera.yaml")
    assert camera == posed.model.camera
    # base_link is the camera with body axes: a point ahead of it is at +x.
    assert poses.transform(mounting, [0.0, 0.0, 1.0]) == pytest.approx([1.0, 0.0, 0.0])
    lines = (tmp_path / "colmap" / "cameras.txt").read_text().splitlines()
    assert float(lines[-1].split()[4]) == pytest.approx(posed.model.camera.fx)


def test_images_that_stand_still_are_refused():
    parked = Corridor(frames=5, step_m=0.0)
    image = parked.render(parked.ground_truth.poses[0])[0]
    frames = [Frame(float(i), "camera", image) for i in range(5)]
    with pytest.raises(RecordingError, match="stands still"):
        pose_images(frames, 5, "photos", None, SETTINGS)


def test_images_without_texture_are_refused_by_one_line():
    frames = [Frame(float(i), "camera", np.zeros((200, 320, 3), np.uint8)) for i in range(5)]
    with pytest.raises(RecordingError, match="lack texture"):
        pose_images(frames, 5, "photos", None, SETTINGS)


def test_images_of_two_sizes_are_refused():
    frames = [Frame(float(i), "camera", np.zeros((200, 320 - i, 3), np.uint8)) for i in range(2)]
    with pytest.raises(RecordingError, match="320x200 and 319x200"):
        pose_images(frames, 2, "photos", None, SETTINGS)


def test_what_stands_still_where_all_else_moves_is_burnt_in():
    rng = np.random.default_rng(3)
    descriptors = rng.integers(0, 255, (40, 128)).astype(np.uint8)
    scene = rng.uniform((0, 0), (300, 180), (40, 2))
    images = []
    for i in range(8):
        pixels = scene + 5.0 * i
        pixels[0] = 100.2, 50.4  # a logo
        images.append(ImageFeatures(pixels.astype(np.float32), descriptors))
    burnt = burnt_in(images, 0.8, (360, 240))
    assert burnt[50 // 8, 100 // 8]
    assert burnt.sum() == 9  # its cell and those around


def test_level_is_exact_for_cameras_that_do_not_roll_on_a_plane():
    yaw = np.radians([0.0, 4.0, 11.0, 15.0])
    T = poses.from_planar(np.arange(4.0), 0.1 * np.arange(4.0) ** 2, yaw)
    optical = np.eye(4)
    optical[:3, :3] = [[0, 0, 1], [-1, 0, 0], [0, -1, 0]]
    pitched = poses.from_xyz_rpy(np.zeros(3), np.array([0.0, 0.2, 0.0]))
    world = poses.exp(np.array([1.0, 2.0, 3.0, 0.4, -1.1, 0.7]))
    T_world_camera = world @ T @ pitched @ optical
    up = level(T_world_camera) @ world[:3, :3] @ np.array([0.0, 0.0, 1.0])
    assert up == pytest.approx([0.0, 0.0, 1.0], abs=1e-9)


def test_a_run_that_is_ended_by_sigterm_still_cleans_up_after_colmap_is_imported():
    code = (
        "import os, signal\n"
        "signal.signal(signal.SIGTERM, lambda *_: print('cleaned up'))\n"
        "from fgsn_ros.mapping.sfm.global_model import colmap\n"
        "colmap()\n"
        "os.kill(os.getpid(), signal.SIGTERM)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "cleaned up\n"
