import numpy as np
import pytest

from fgsn_ros.errors import RecordingError
from fgsn_ros.geometry import poses
from fgsn_ros.geometry.cameras import Camera
from fgsn_ros.recordings.camera_files import read_camera, write_camera

FILES = {
    "ROS": """
image_width: 64
image_height: 40
camera_matrix: {rows: 3, cols: 3, data: [50.0, 0.0, 31.2, 0.0, 51.0, 19.4, 0.0, 0.0, 1.0]}
distortion_model: Plumb_Bob
distortion_coefficients: {rows: 1, cols: 4, data: [-0.1, 0.01, 1e-3, 2e-3]}
""",
    "OpenCV": """%YAML:1.0
---
image_width: 64
image_height: 40
camera_matrix: !!opencv-matrix
   rows: 3
   cols: 3
   dt: d
   data: [ 50., 0., 31.2, 0., 51., 19.4, 0., 0., 1. ]
camera_model: radtan
distortion_coefficients: !!opencv-matrix
   rows: 1
   cols: 4
   dt: d
   data: [ -1.0e-01, 1.0e-02, 1.0e-03, 2.0e-03 ]
""",
    "Kalibr": """
cam0:
  T_cam_imu: [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]
  camera_model: pinhole
  distortion_coeffs: [-0.1, 0.01, 0.001, 0.002]
  distortion_model: radtan
  intrinsics: [50.0, 51.0, 31.2, 19.4]
  resolution: [64, 40]
  rostopic: /camera/image_raw
""",
    "ORB-SLAM": """%YAML:1.0

Camera.type: "PinHole"
Camera1.fx: 50.0
Camera1.fy: 51.0
Camera1.cx: 31.2
Camera1.cy: 19.4
Camera1.k1: -0.1
Camera1.k2: 0.01
Camera1.p1: 0.001
Camera1.p2: 0.002
Camera.width: 64
Camera.height: 40
Camera.fps: 10
Tbc: !!opencv-matrix
  rows: 1
  cols: 1
  dt: f
  data: [ 1. ]
""",
}
OF_FISHEYES = {
    "ROS": FILES["ROS"].replace("distortion_model: Plumb_Bob", "camera_model: fisheye"),
    "Kalibr": FILES["Kalibr"].replace("radtan", "equidistant"),
    "ORB-SLAM": FILES["ORB-SLAM"]
    .replace('"PinHole"', "KannalaBrandt8")
    .replace("p1", "k3")
    .replace("p2", "k4"),
}
PINHOLE = (64, 40, 50.0, 51.0, 31.2, 19.4)


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("text", FILES.values(), ids=FILES)
def test_a_camera_file_of_any_tool_makes_the_same_camera(tmp_path, text, mark) -> None:
    (tmp_path / "camera.yaml").write_bytes(mark + text.encode())
    camera, mounting = read_camera(tmp_path / "camera.yaml")
    assert camera == Camera(*PINHOLE, "plumb_bob", (-0.1, 0.01, 1e-3, 2e-3))
    assert mounting is None


@pytest.mark.parametrize("text", OF_FISHEYES.values(), ids=OF_FISHEYES)
def test_a_fisheyes_file_makes_an_equidistant_camera(tmp_path, text) -> None:
    mounted = f"{text}T_base_camera: {{translation: [1, 2, 3], q_xyzw: [0, 0, 0, 1]}}\n"
    (tmp_path / "camera.yaml").write_text(mounted)
    camera, mounting = read_camera(tmp_path / "camera.yaml")
    assert camera == Camera(*PINHOLE, "equidistant", (-0.1, 0.01, 1e-3, 2e-3))
    np.testing.assert_array_equal(mounting[:3, 3], [1.0, 2.0, 3.0])


def test_the_skew_of_a_calibration_counts(tmp_path) -> None:
    text = OF_FISHEYES["ROS"].replace("[50.0, 0.0,", "[50.0, -0.5,")
    (tmp_path / "camera.yaml").write_text(text)
    assert read_camera(tmp_path / "camera.yaml")[0].skew == -0.5


@pytest.mark.parametrize(
    ("kind", "old", "new", "said"),
    [
        ("ROS", "image_width: 64", "image_width: 64.5", "whole number"),
        ("ROS", "image_width: 64", "image_width: 1e300", "more than 65535 pixels"),
        ("ROS", "distortion_coefficients", "distortion", "lacks the distortion_coefficients"),
        ("ROS", "[50.0", "[1e300", "absurd"),
        ("ROS", "-0.1", "1e308", "1e[+]308 is absurd"),
        ("Kalibr", "model: pinhole", "model: omni", "omni"),
        ("Kalibr", "rostopic: /camera", "a: 1\ncam1:\n  b: /camera", "cam0, cam1"),
        ("Kalibr", "intrinsics: [50.0,", "intrinsics: [", "'intrinsics' takes 4"),
        ("Kalibr", "model: radtan", "model: fov", "fov"),
        ("ORB-SLAM", "PinHole", "Fish", "Camera.type Fish"),
        ("ORB-SLAM", "Camera.width", "Camera.newWidth", "lacks 'Camera.width'"),
    ],
)
def test_a_camera_file_that_makes_no_camera_says_why(tmp_path, kind, old, new, said) -> None:
    assert old in FILES[kind]
    (tmp_path / "camera.yaml").write_text(FILES[kind].replace(old, new))
    with pytest.raises(RecordingError, match=said) as error:
        read_camera(tmp_path / "camera.yaml")
    assert str(tmp_path / "camera.yaml") in str(error.value)
    assert "\n" not in str(error.value)


def test_a_written_camera_is_read_as_it_was(tmp_path):
    camera = Camera(640, 480, 500.25, 501.5, 318.0, 241.0, "plumb_bob", (0.1, -0.02, 1e-3, 2e-4))
    mounting = poses.from_quaternion(np.array([0.4, 0.0, 1.2]), np.array([-0.5, 0.5, -0.5, 0.5]))
    write_camera(tmp_path / "camera.yaml", camera, mounting)
    back, mounted = read_camera(tmp_path / "camera.yaml")
    assert back == camera
    assert mounted == pytest.approx(mounting)
