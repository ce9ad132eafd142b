from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml

from fgsn_ros.errors import FgsnError, RecordingError
from fgsn_ros.geometry import poses
from fgsn_ros.geometry.cameras import T_BASE_OPTICAL
from fgsn_ros.geometry.trajectory import Trajectory, write_tum
from fgsn_ros.recordings.open import open_recording, read_reference
from fgsn_ros.recordings.recording import RecordingSettings, require_ground_truth, require_odometry


def refused(path: Path, **settings) -> str:
    with pytest.raises(RecordingError) as error:
        list(open_recording(path, RecordingSettings(**settings)).frames())
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_kitti_range_gives_its_frames_at_their_stamps(kitti_folder: Path, smooth_image) -> None:
    recording = open_recording(kitti_folder, RecordingSettings(first=4, last=6))
    frames = list(recording.frames())
    assert (recording.name, recording.frame_count) == ("42", 3)
    np.testing.assert_allclose([frame.stamp for frame in frames], [0.4, 0.5, 0.6])
    for number, frame in zip([4, 5, 6], frames, strict=True):
        grey = smooth_image(number)[:, :, 0]
        np.testing.assert_array_equal(frame.image, np.repeat(grey[:, :, None], 3, axis=2))
    camera = recording.cameras["image_0"].camera
    assert (camera.width, camera.height, camera.fx, camera.cy) == (64, 40, 50.0, 19.4)
    assert open_recording(kitti_folder).frame_count == 5


def test_kitti_poses_come_in_body_axes_with_z_up(kitti_folder: Path) -> None:
    truth = open_recording(kitti_folder).ground_truth
    number = np.arange(10)
    np.testing.assert_allclose(truth.stamps, 0.1 * number)
    # Ahead (camera z) is x, right (camera x) is -y, up (camera -y) is z; a bend right is clockwise.
    expected = np.column_stack([1.0 * number, -0.01 * number**2, 0.05 * number])
    np.testing.assert_allclose(truth.poses[:, :3, 3], expected, atol=1e-6)
    np.testing.assert_allclose(poses.to_rpy(truth.poses)[:, 2], -0.02 * number, atol=1e-6)
    np.testing.assert_allclose(poses.to_rpy(truth.poses)[:, :2], 0.0, atol=1e-6)


def test_a_point_keeps_its_pixel_through_kittis_turned_frames(
    kitti_folder: Path, kitti_poses
) -> None:
    recording = open_recording(kitti_folder)
    mount = recording.cameras["image_0"]
    point_world = np.array([0.5, -0.3, 20.0])
    point_map = poses.transform(T_BASE_OPTICAL, point_world)
    T_map_camera = poses.compose(recording.ground_truth.at(0.7), mount.T_base_camera)
    seen, _ = mount.camera.project(poses.transform(poses.invert(T_map_camera), point_map))
    T_world_camera = kitti_poses(np.array([7]))[0]
    true, _ = mount.camera.project(poses.transform(poses.invert(T_world_camera), point_world))
    np.testing.assert_allclose(seen, true, atol=1e-4)


def test_tum_poses_of_a_kitti_folder_are_turned_like_its_own(
    kitti_folder: Path, tmp_path, kitti_poses
) -> None:
    number = np.arange(4, 7)
    tum = tmp_path / "tum.txt"
    write_tum(tum, Trajectory(0.1 * number, kitti_poses(number)))
    own = open_recording(kitti_folder)
    recording = open_recording(kitti_folder, RecordingSettings(poses=tum))
    reference = read_reference(tum, recording)
    for trajectory in (recording.ground_truth, reference):
        np.testing.assert_allclose(trajectory.poses, own.ground_truth.poses[4:7], atol=1e-6)
    assert not recording.ground_truth.covers(0.3)
    assert recording.frame_count == 5


def test_odometry_is_derived_from_another_file_than_the_reference(
    kitti_folder, tmp_path, kitti_poses
) -> None:
    tum = tmp_path / "tum.txt"
    write_tum(tum, Trajectory(np.array([0.5, 0.6]), kitti_poses(np.array([5, 6]))))
    settings = RecordingSettings(
        poses=tum, odometry_poses=tmp_path / "poses/42.txt", derive_odometry=True, first=4, last=7
    )
    recording = open_recording(kitti_folder, settings)
    np.testing.assert_allclose(recording.odometry.stamps, [0.4, 0.5, 0.6, 0.7])
    np.testing.assert_array_equal(recording.odometry.poses[0], np.eye(4))
    assert len(recording.ground_truth) == 2
    assert recording.odometry.length_m() == pytest.approx(3.06, abs=0.3)
    again = open_recording(kitti_folder, settings)
    np.testing.assert_array_equal(again.odometry.poses, recording.odometry.poses)


def test_a_folder_without_odometry_or_poses_says_what_to_do(kitti_folder: Path, tmp_path) -> None:
    (tmp_path / "poses/42.txt").unlink()
    recording = open_recording(kitti_folder)
    with pytest.raises(RecordingError, match="derive_odometry"):
        require_odometry(recording)
    with pytest.raises(RecordingError, match="poses"):
        require_ground_truth(recording)
    assert "poses" in refused(kitti_folder, derive_odometry=True)


def test_missing_kitti_frames_are_named_and_left_out_up_to_a_share(
    kitti_folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert "frame 8" in refused(kitti_folder, last=9)
    assert "frame 2" in refused(kitti_folder, first=2)
    assert "frame 1 " in refused(kitti_folder, last=1)
    assert "frame 20 " in refused(kitti_folder, first=20)
    (kitti_folder / "image_0/000005.png").unlink()
    stamps = [frame.stamp for frame in open_recording(kitti_folder).frames()]
    np.testing.assert_allclose(stamps, [0.3, 0.4, 0.6, 0.7])
    assert "1 of 5 frames are missing (first: 5)" in caplog.text
    (kitti_folder / "image_0/000007.png").rename(kitti_folder / "image_0/9.png")
    assert "frame 5 " in refused(kitti_folder)
    (kitti_folder / "image_0/9.png").rename(kitti_folder / f"image_0/{10**20}.png")
    assert "frame 5 " in refused(kitti_folder)


@pytest.mark.parametrize("share", [0.0, 0.2, 0.5, 0.95])
def test_a_truncated_image_is_left_out_and_named(
    kitti_folder: Path, share: float, caplog: pytest.LogCaptureFixture
) -> None:
    path = kitti_folder / "image_0/000003.png"
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    stamps = [frame.stamp for frame in open_recording(kitti_folder).frames()]
    np.testing.assert_allclose(stamps, [0.4, 0.5, 0.6, 0.7])
    (record,) = caplog.records
    assert "1 of 5 images: 1 damaged (first: 000003.png) are left out" in record.getMessage()


def test_images_of_another_size_are_left_out_up_to_a_share(
    kitti_folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def shorten(name: str) -> None:
        cv2.imwrite(str(kitti_folder / f"image_0/{name}.png"), np.zeros((39, 64), np.uint8))

    shorten("000003")
    recording = open_recording(kitti_folder)
    assert recording.cameras["image_0"].camera.height == 40
    assert [round(10 * frame.stamp) for frame in recording.frames()] == [4, 5, 6, 7]
    assert "000003.png" in caplog.text
    assert "64x39 but its camera is 64x40" in caplog.text
    shorten("000005")
    shorten("000006")
    assert "3 of 5 images" in refused(kitti_folder)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("calib.txt", "P1: 1 2 3\n", "P0"),
        ("calib.txt", "P0: " + "0 " * 12, "P0"),
        ("calib.txt", "P0: 1 0 0 0 0 1 1 0 0 1 1 0", "P0"),
        ("calib.txt", "P0: 1e300 0 0 0 0 1 1 0 0 0 1 0", "absurd"),
        ("times.txt", "0.0\n0.1\n", "frame 7"),
        ("times.txt", "0.0\n0.9\n" + "0.5\n" * 8, "with the stamp of the one before"),
        ("../../poses/42.txt", "1 0 0 0 0 1 0 0 0 0 1 0\n", "1 poses"),
        ("../../poses/42.txt", "1 0 0 0 0 1 0 0 0 0 1 nan\n" * 10, "not finite"),
        ("../../poses/42.txt", "0 0 0 0 0 1 0 0 0 0 1 1\n" * 10, "rotation"),
    ],
)
def test_a_damaged_kitti_file_is_named(kitti_folder: Path, name, content, said) -> None:
    (kitti_folder / name).write_text(content)
    message = refused(kitti_folder)
    assert said in message
    assert Path(name).stem in message or "stamps of images" in message


def test_one_damaged_stamp_and_pose_cost_their_frame_and_pose_alone(
    kitti_folder, kitti_poses, caplog
) -> None:
    times = (kitti_folder / "times.txt").read_text().splitlines()
    (kitti_folder / "times.txt").write_text("\n".join([*times[:6], "0.x", *times[7:]]))
    poses_file = kitti_folder / "../../poses/42.txt"
    rows = poses_file.read_text().splitlines()
    rows[4] = rows[4].rsplit(maxsplit=4)[0]  # cut
    poses_file.write_text("\n".join(rows))
    recording = open_recording(kitti_folder)
    assert [path.stem for path in recording.images.files] == [
        "000003",
        "000004",
        "000005",
        "000007",
    ]
    truth = kitti_poses(np.array([0, 1, 2, 3, 5, 7, 8, 9]))
    np.testing.assert_allclose(
        recording.ground_truth.stamps, [0.0, 0.1, 0.2, 0.3, 0.5, 0.7, 0.8, 0.9]
    )
    np.testing.assert_allclose(recording.ground_truth.poses[:, 0, 3], truth[:, 2, 3], atol=1e-6)
    assert "1 of 5 stamps of images: 1 without a stamp (first: 000006.png)" in caplog.text
    assert "2 of 10 poses" in caplog.text


def test_the_colour_camera_keeps_its_offset_from_camera_0(kitti_folder: Path) -> None:
    (kitti_folder / "image_0").rename(kitti_folder / "image_2")
    P2 = "P2: 50 0 31.2 -3.0 0 50 19.4 0.5 0 0 1 0.01\n"
    (kitti_folder / "calib.txt").write_text(P2)
    mount = open_recording(kitti_folder).cameras["image_2"]
    point_0 = np.array([1.0, -0.5, 9.0])
    pixel = np.array(P2.split()[1:], float).reshape(3, 4) @ np.append(point_0, 1.0)
    point_base = poses.transform(T_BASE_OPTICAL, point_0)
    seen, _ = mount.camera.project(poses.transform(poses.invert(mount.T_base_camera), point_base))
    np.testing.assert_allclose(seen, pixel[:2] / pixel[2], atol=1e-9)


def test_settings_out_of_range_are_refused() -> None:
    for wrong in (
        {"first": -1},
        {"first": 5, "last": 4},
        {"seed": -1},
        {"odometry_poses": Path("poses.txt")},
        {"camera_info_topics": ("/a",)},
    ):
        with pytest.raises(FgsnError):
            RecordingSettings(**wrong)


CAMERA = {
    "image_width": 64,
    "image_height": 40,
    "camera_matrix": {"rows": 3, "cols": 3, "data": [50.0, 0, 31.2, 0, 51.0, 19.4, 0, 0, 1]},
    "distortion_model": "plumb_bob",
    "distortion_coefficients": {"rows": 1, "cols": 5, "data": [-0.1, 0.01, 0, 0, 0]},
}


@pytest.fixture
def image_folder(tmp_path: Path, kitti_poses, smooth_image) -> Path:
    """A folder of four images named by their stamps, with poses of the camera."""
    folder = tmp_path / "walk"
    (folder / "images").mkdir(parents=True)
    for i in range(4):
        cv2.imwrite(str(folder / f"images/{100 + 0.5 * i:.6f}.jpg"), smooth_image(i)[:, :, ::-1])
    write_camera(folder, {})
    write_tum(folder / "poses.txt", Trajectory(100 + 0.5 * np.arange(4), kitti_poses(np.arange(4))))
    return folder


def write_camera(folder: Path, changes: dict[str, object]) -> None:
    (folder / "camera.yaml").write_text(yaml.safe_dump({**CAMERA, **changes}))


def test_an_image_folder_is_stamped_by_its_names(image_folder: Path, smooth_image) -> None:
    recording = open_recording(image_folder)
    assert [frame.stamp for frame in recording.frames()] == [100.0, 100.5, 101.0, 101.5]
    error = np.abs(next(recording.frames()).image.astype(int) - smooth_image(0))
    assert error.mean() < 4
    mount = recording.cameras["camera"]
    assert mount.camera.distortion == (-0.1, 0.01, 0.0, 0.0, 0.0)
    np.testing.assert_array_equal(mount.T_base_camera, T_BASE_OPTICAL)
    assert recording.ground_truth.poses[3, 0, 3] == pytest.approx(3.0)


def test_an_image_folder_with_a_mounting_has_poses_of_the_base(
    image_folder: Path, kitti_poses
) -> None:
    mounting = {"translation": [1.0, 0.0, 1.5], "q_xyzw": [-0.5, 0.5, -0.5, 0.5]}
    write_camera(image_folder, {"T_base_camera": mounting})
    recording = open_recording(image_folder)
    expected = T_BASE_OPTICAL + np.array([[0, 0, 0, 1.0], [0] * 4, [0, 0, 0, 1.5], [0] * 4])
    np.testing.assert_allclose(recording.cameras["camera"].T_base_camera, expected, atol=1e-12)
    np.testing.assert_allclose(recording.ground_truth.poses, kitti_poses(np.arange(4)), atol=1e-8)
    assert read_reference(image_folder / "poses.txt", recording).poses[3, 2, 3] == pytest.approx(
        3.0
    )


def test_an_image_folder_takes_times_and_a_range(image_folder: Path) -> None:
    folder = image_folder
    (folder / "times.txt").write_text("7\n8\n9\n10\n")
    frames = open_recording(folder, RecordingSettings(first=1, last=2)).frames()
    assert [frame.stamp for frame in frames] == [8.0, 9.0]
    assert "0 to 3" in refused(folder, last=4)
    assert "0 to 3" in refused(folder, first=4)
    (folder / "times.txt").write_text("7\n8\n")
    assert "2 stamps" in refused(folder)


@pytest.mark.parametrize(
    "change",
    [
        {"image_width": 60},
        {"image_width": None},
        {"camera_matrix": {"data": [1.0]}},
        {"camera_matrix": 3},
        {"distortion_model": "unheard_of"},
        {"distortion_coefficients": {"data": ["a"]}},
        {"T_base_camera": {"translation": [0, 0, 0], "q_xyzw": [0, 0, 0, 0]}},
        {"T_base_camera": {"translation": [0, 0], "q_xyzw": [0, 0, 0, 1]}},
    ],
)
def test_a_wrong_camera_file_is_refused(image_folder: Path, change: dict[str, object]) -> None:
    write_camera(image_folder, change)
    assert "camera" in refused(image_folder)


def test_a_mounting_whose_quaternion_is_no_rotation_is_refused(image_folder: Path) -> None:
    mounting = {"translation": [1.0, 0.0, 1.5], "q_xyzw": [-0.5, 0.5, -0.5, 0.0]}
    write_camera(image_folder, {"T_base_camera": mounting})
    assert "length of a quaternion is 0.866" in refused(image_folder)


def test_stamps_in_nanoseconds_are_refused(image_folder: Path) -> None:
    folder = image_folder
    (folder / "times.txt").write_text("".join(f"17000000{i}00000000000\n" for i in range(4)))
    assert "write seconds" in refused(folder)


def test_an_image_without_a_stamp_is_refused(image_folder: Path) -> None:
    folder = image_folder
    (folder / "images/100.000000.jpg").rename(folder / "images/first.jpg")
    assert "times.txt" in refused(folder)


def test_kittis_second_pass_meets_the_first_in_one_map(shared_data: Path) -> None:
    folder = shared_data / "kitti00_two_pass"
    first = open_recording(
        folder, RecordingSettings(first=110, last=212, poses=folder / "poses_00.txt")
    )
    second = open_recording(
        folder,
        RecordingSettings(
            first=1566,
            last=1640,
            poses=folder / "pass2_reference_tum.txt",
            odometry_poses=folder / "poses_00.txt",
            derive_odometry=True,
        ),
    )
    frame = next(second.frames())
    assert frame.image.shape == (376, 1241, 3)
    assert (first.frame_count, second.frame_count) == (103, 75)
    assert all(second.ground_truth.covers(stamp) for stamp in second.images.stamps)
    truth = second.ground_truth
    position = truth.at(truth.stamps[30])[:3, 3]
    passes = first.ground_truth.between(*first.images.stamps[[0, -1]])
    nearest = passes.poses[np.linalg.norm(passes.poses[:, :3, 3] - position, axis=1).argmin()]
    meeting = poses.invert(nearest) @ truth.at(truth.stamps[30])
    assert np.linalg.norm(meeting[:3, 3]) < 3.0
    assert abs(poses.to_rpy(meeting)[2]) < 0.2
    assert abs(second.odometry.length_m() / truth.length_m() - 1.02) < 0.03
    assert "frame 213" in refused(folder)
