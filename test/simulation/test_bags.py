import numpy as np

from fgsn_ros.recordings.open import open_recording
from fgsn_ros.simulation.bags import write_drive
from fgsn_ros.simulation.drive import DriveSettings, SimulatedDrive


def test_a_written_drive_reads_back_as_it_was(town, tmp_path):
    settings = DriveSettings(town_seed=5, duration_s=0.3, width=96, height=64, threads=1)
    drive = SimulatedDrive(settings, town)
    write_drive(drive, tmp_path / "bag", with_classes=True, with_depth=True)
    read = open_recording(tmp_path / "bag")
    assert read.frame_count == drive.frame_count == 4
    np.testing.assert_allclose(read.ground_truth.poses, drive.ground_truth.poses, atol=1e-9)
    np.testing.assert_allclose(read.odometry.poses, drive.odometry.poses, atol=1e-9)
    (mount,) = read.cameras.values()
    expected = drive.cameras["camera"]
    np.testing.assert_allclose(mount.T_base_camera, expected.T_base_camera, atol=1e-9)
    point = np.array([0.3, 0.2, 2.0])
    np.testing.assert_allclose(mount.camera.project(point)[0], expected.camera.project(point)[0])
    for frame, original in zip(read.frames(), drive.frames(), strict=True):
        assert abs(frame.stamp - original.stamp) < 1e-6
        assert np.abs(frame.image.astype(int) - original.image).mean() < 6.0
