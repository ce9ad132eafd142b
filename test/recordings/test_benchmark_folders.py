"""Extended CMU Seasons and RobotCar Seasons: made folders of these layouts, CMU's real poses."""

import shutil

import numpy as np
import pytest
from corridor import Corridor
from made_seasons import (
    C0_YAW,
    C1_YAW,
    car_cameras,
    cmu_camera_poses,
    robotcar_poses,
    write_cmu_slice,
    write_robotcar,
)
from real_data import real_data

from fgsn_ros.errors import RecordingError
from fgsn_ros.geometry import poses
from fgsn_ros.recordings.cmu_seasons import cmu_poses, cmu_queries, cmu_query_poses, condition
from fgsn_ros.recordings.open import open_recording
from fgsn_ros.recordings.recording import RecordingSettings
from fgsn_ros.recordings.robotcar_seasons import (
    WORLD,
    robotcar_queries,
    robotcar_root,
    robotcar_training_poses,
)


@pytest.fixture(scope="module")
def cmu(tmp_path_factory):
    return write_cmu_slice(tmp_path_factory.mktemp("cmu"))


@pytest.fixture(scope="module")
def robotcar(tmp_path_factory):
    return write_robotcar(tmp_path_factory.mktemp("robotcar") / "RobotCar-Seasons")


def camera_poses(recording):
    """T_map_camera of each frame, by camera and stamp in microseconds."""
    return {
        (frame.camera, round(frame.stamp * 1e6)): recording.ground_truth.at(frame.stamp)
        @ recording.cameras[frame.camera].T_base_camera
        for frame in recording.frames()
    }


def test_a_slice_is_a_recording_whose_cameras_are_where_its_list_has_them(cmu):
    recording = open_recording(cmu)
    found = camera_poses(recording)
    expected = {
        tuple([name.split("_")[2], int(name.split("_")[3][:-6])]): T
        for index, (name, T) in enumerate(cmu_camera_poses(Corridor()))
        if index // 2 % 5 != 2
    }
    assert found.keys() == expected.keys()
    for key, T in expected.items():
        np.testing.assert_allclose(found[key], T, atol=1e-6)


def test_a_slices_base_is_level_and_looks_where_the_car_goes(cmu):
    mounts = open_recording(cmu).cameras
    for name, yaw in (("c0", C0_YAW), ("c1", C1_YAW)):
        axis = mounts[name].T_base_camera[:3, 2]
        assert abs(np.arctan2(axis[1], axis[0]) - yaw) < np.radians(3.0)  # it bends by up to 7 deg
        assert mounts[name].T_base_camera[2, 1] < -0.999  # the image's down is the ground's


def test_images_of_a_slice_are_chosen_in_their_order(cmu):
    part = open_recording(cmu, RecordingSettings(first=2, last=5))
    assert [frame.camera for frame in part.frames()] == ["c0", "c1", "c0", "c1"]
    with pytest.raises(RecordingError, match="holds images 0 to 25"):
        open_recording(cmu, RecordingSettings(last=26))


def test_a_slices_queries_have_their_cameras_and_some_of_them_poses(cmu):
    queries, known = cmu_queries(cmu), cmu_query_poses(cmu)
    assert [query.name for query in queries] == [pose.name for pose in known]
    assert {query.rig_camera for query in queries} == {"c0", "c1"}
    assert queries[0].camera.cx == Corridor().cameras["camera"].camera.cx
    assert known[0].groups == ("park", "sunny, no foliage")
    expected = dict(cmu_camera_poses(Corridor()))
    for pose in known:
        np.testing.assert_allclose(
            pose.T_camera_world, poses.invert(expected[pose.name]), atol=1e-6
        )


@pytest.mark.parametrize(
    ("time_us", "said"),
    [
        (1284563900989508, "sunny, foliage"),
        (1292959200000000, "low sun, no foliage, snow"),
        (1311874000000000, "overcast, foliage"),
        (1600000000000000, "2020-09-13"),
    ],
)
def test_the_condition_is_that_of_the_day(time_us, said):
    assert condition(f"slice22/query/img_07434_c0_{time_us}us.jpg") == said


def test_what_a_slice_lacks_is_named(cmu, tmp_path):
    copied = tmp_path / "slice22"
    shutil.copytree(cmu, copied)
    with pytest.raises(RecordingError, match=r"intrinsics\.txt"):
        open_recording(copied)
    camera = "OPENCV 320 200 190 190 158 97 0 0 0 0"
    (tmp_path / "intrinsics.txt").write_text(f"c0 {camera}\n")
    with pytest.raises(RecordingError, match="is of camera c1, not of c0"):
        open_recording(copied)
    shutil.rmtree(copied / "camera-poses")
    with pytest.raises(RecordingError, match="holds no poses of the slice's queries"):
        cmu_query_poses(copied)


def test_robotcars_reference_drive_is_a_recording_with_z_up(robotcar):
    recording = open_recording(robotcar)
    found = camera_poses(recording)
    assert len(found) == 18
    for number, T_world_car in enumerate(robotcar_poses()):
        stamp = 1_417_176_458_999_821 + number * 500_000
        for name, T_car_camera in car_cameras().items():
            T_map_camera = WORLD @ T_world_car @ T_car_camera
            np.testing.assert_allclose(found[name, stamp], T_map_camera, atol=1e-6)
            assert T_map_camera[2, 1] < -0.99


def test_robotcars_cameras_look_back_and_to_the_sides(robotcar):
    mounts = open_recording(robotcar).cameras
    ways = {"rear": [-1.0, 0.0, 0.0], "left": [0.0, 1.0, 0.0], "right": [0.0, -1.0, 0.0]}
    for name, way in ways.items():
        assert mounts[name].T_base_camera[:3, 2] @ way > np.cos(np.radians(12.0))
        assert mounts[name].camera.cx == 508.2 - 0.5


def test_robotcars_queries_are_those_of_all_conditions_or_of_one(robotcar):
    assert len(robotcar_queries(robotcar, robotcar)) == 6
    night = robotcar / "images" / "night"
    assert robotcar_root(night).samefile(robotcar)
    names = [query.name for query in robotcar_queries(robotcar, night)]
    assert names == [f"night/{side}/1418235223450115.jpg" for side in ("left", "rear", "right")]


def test_robotcars_training_poses_are_camera_to_world(robotcar):
    known = {pose.name: pose for pose in robotcar_training_poses(robotcar)}
    pose = known["night/left/1418235223450115.jpg"]
    T_world_camera = robotcar_poses()[1] @ car_cameras()["left"]
    np.testing.assert_allclose(pose.T_camera_world, poses.invert(T_world_camera), atol=1e-6)
    assert pose.groups == ("night, all", "night")
    assert known["overcast-winter/rear/1447410000000000.jpg"].groups == (
        "day, all",
        "overcast-winter",
    )


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("3D-models/all-merged/all.nvm", "# Bundle file v0.3\n", "no NVM model"),
        ("3D-models/all-merged/all.nvm", "NVM_V3\n\n5\n", "ends after 0 of 5 cameras"),
        ("3D-models/all-merged/all.nvm", "NVM_V3\n\n1\na.png 400 1 0\n", "is no camera"),
        (
            "3D-models/all-merged/all.nvm",
            "NVM_V3\n\n1\nday/front/12.png 400 1 0 0 0 1 2 3 0 0\n",
            "none of the cameras rear, left, right",
        ),
        ("intrinsics/left_intrinsics.txt", "fx 400\nfy 400\n", "lacks one of fx, fy, cx, cy"),
        ("extrinsics/left_extrinsics.txt", "1,0,0\n0,1,0\n", "is no 4x4 matrix"),
        (
            "extrinsics/left_extrinsics.txt",
            "2,0,0,0\n0,1,0,0\n0,0,1,0\n0,0,0,1\n",
            "is no 4x4 matrix",
        ),
    ],
)
def test_what_is_wrong_with_robotcars_files_is_one_line(robotcar, tmp_path, file, text, message):
    copied = tmp_path / "copied"
    shutil.copytree(robotcar, copied)
    (copied / file).write_text(text)
    with pytest.raises(RecordingError, match=message):
        open_recording(copied)


def test_the_real_poses_of_cmu_make_a_level_rig(tmp_path):
    """Lists of slice 22 as the data set has them, without images."""
    data = real_data("cmu_seasons_poses")
    folder = tmp_path / "slice22"
    folder.mkdir()
    shutil.copy(data / "intrinsics.txt", tmp_path)
    lists = [(data / "surveys/22" / f"c{camera}_db.txt").read_text() for camera in (0, 1)]
    (folder / "ground-truth-database-images-slice22.txt").write_text("".join(lists))
    recording = open_recording(folder)
    assert recording.frame_count == 320
    for name, yaw_deg in (("c0", 45.0), ("c1", -45.0)):  # the cameras look to both sides ahead
        axis = recording.cameras[name].T_base_camera[:3, 2]
        assert abs(np.degrees(np.arctan2(axis[1], axis[0])) - yaw_deg) < 3.0
        assert recording.cameras[name].T_base_camera[2, 1] < -0.99
    steps = np.linalg.norm(np.diff(recording.ground_truth.poses[:, :3, 3], axis=0), axis=1)
    assert np.median(steps) < 2.0
    height = recording.ground_truth.poses[:, 2, 3]
    assert np.ptp(height) < 0.1 * recording.ground_truth.length_m()


def test_the_real_poses_of_cmu_have_conditions_and_scenes():
    file = real_data("cmu_seasons_poses") / "surveys/22/c0_0.txt"
    known = cmu_poses(file)
    assert {pose.groups[-1] for pose in known} == {"sunny, foliage"}
