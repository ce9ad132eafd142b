import numpy as np
import pytest

from fgsn_ros.errors import CameraError, RecordingError
from fgsn_ros.geometry import poses
from fgsn_ros.recordings.benchmark_lists import (
    colmap_camera,
    read_pose_list,
    read_query_list,
    submitted_name,
)

LINES = {
    "SIMPLE_PINHOLE": ("700 400 300", ()),
    "PINHOLE": ("700 710 400 300", ()),
    "SIMPLE_RADIAL": ("700 400 300 -0.1", (-0.1,)),
    "RADIAL": ("700 400 300 -0.1 0.02", (-0.1, 0.02)),
    "OPENCV": ("700 710 400 300 -0.1 0.02 0.001 -0.002", (-0.1, 0.02, 0.001, -0.002)),
    "FULL_OPENCV": (
        "700 710 400 300 -0.1 0.02 0.001 -0.002 0.003 0.01 0.02 0.03",
        (-0.1, 0.02, 0.001, -0.002, 0.003, 0.01, 0.02, 0.03),
    ),
    "OPENCV_FISHEYE": ("700 710 400 300 0.01 0.02 0.003 0.004", (0.01, 0.02, 0.003, 0.004)),
    "RADIAL_FISHEYE": ("700 400 300 0.01 0.02", (0.01, 0.02)),
}


@pytest.mark.parametrize("model", LINES)
def test_a_camera_of_colmap_has_its_pixels_half_a_pixel_further(model):
    numbers, distortion = LINES[model]
    camera = colmap_camera([model, "800", "600", *numbers.split()])
    fy = 710.0 if "710" in numbers else 700.0
    assert (camera.width, camera.height) == (800, 600)
    assert (camera.fx, camera.fy, camera.cx, camera.cy) == (700.0, fy, 399.5, 299.5)
    count = len(distortion)
    assert camera.distortion[:count] == distortion
    assert not any(camera.distortion[count:])
    assert camera.distortion_model == (
        "equidistant"
        if "FISHEYE" in model
        else ("rational_polynomial" if model == "FULL_OPENCV" else "plumb_bob")
    )


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("", "is none of SIMPLE_PINHOLE"),
        ("FOV 800 600 1 2 3 4 5", "'FOV' is none of"),
        ("PINHOLE 800 600 700 700 400", "then fx fy cx cy"),
        ("PINHOLE 800.5 600 700 700 400 300", "whole width and height"),
        ("PINHOLE 800 600 700 seven 400 300", "takes numbers"),
        ("PINHOLE 800", "takes numbers"),
        ("PINHOLE 800 600 -700 700 400 300", "camera matrix"),
        ("PINHOLE 800 600 nan 700 400 300", "camera matrix"),
    ],
    ids=str,
)
def test_what_is_no_camera_is_refused(line, message):
    with pytest.raises(CameraError, match=message):
        colmap_camera(line.split())


def test_names_are_those_that_the_benchmark_asks_for():
    names = {
        "query/day/milestone/2010-10-30.jpg": "2010-10-30.jpg",
        "night/rear/1418235223450115.jpg": "rear/1418235223450115.jpg",
        "images/rain/left/1.jpg": "left/1.jpg",
        "img_00122_c0_1303398475046031us.jpg": "img_00122_c0_1303398475046031us.jpg",
    }
    assert {name: submitted_name(name) for name in names} == names


def test_queries_keep_the_order_of_their_list(tmp_path):
    path = tmp_path / "night_time_queries_with_intrinsics.txt"
    path.write_text(
        "# a comment\n"
        "query/b.jpg SIMPLE_RADIAL 1600 1200 1469.2 800 600 -0.0353\n\n"
        "query/a.jpg PINHOLE 640 480 500 500 320 240\n"
    )
    first, second = read_query_list(path)
    assert (first.name, first.camera.width, first.camera.distortion[0]) == (
        "query/b.jpg",
        1600,
        -0.0353,
    )
    assert (second.name, second.camera.fx) == ("query/a.jpg", 500.0)


def test_a_few_damaged_lines_are_left_out_and_said(tmp_path, caplog):
    path = tmp_path / "queries.txt"
    good = [f"{i}.jpg PINHOLE 640 480 500 500 320 240\n" for i in range(30)]
    path.write_text("".join([*good, "cut.jpg PINHO", "\n"]))
    assert len(read_query_list(path)) == 30
    assert "1 of 31 lines" in caplog.text
    assert "line 31" in caplog.text


@pytest.mark.parametrize(
    "text", ["", "# nothing\n", "a b\nc d\ne f\ng h\n"], ids=["", "#", "other"]
)
def test_a_list_of_another_form_is_one_line(tmp_path, text):
    path = tmp_path / "list.txt"
    path.write_text(text)
    for read in (read_query_list, read_pose_list):
        with pytest.raises(RecordingError, match=r"list\.txt"):
            read(path)


def test_poses_are_read_with_their_translation_or_their_centre(tmp_path):
    T_world_camera = poses.from_xyz_rpy([10.0, -4.0, 2.0], [0.3, -0.2, 1.1])
    T_camera_world = poses.invert(T_world_camera)
    _, (x, y, z, w) = poses.to_quaternion(T_camera_world)
    for name, position in (("t", T_camera_world[:3, 3]), ("c", T_world_camera[:3, 3])):
        numbers = " ".join(f"{v:.12f}" for v in (w, x, y, z, *position))
        (tmp_path / f"{name}.txt").write_text(f"a.jpg {numbers}\n")
        read = read_pose_list(tmp_path / f"{name}.txt", of_centres=name == "c")
        np.testing.assert_allclose(read["a.jpg"], T_camera_world, atol=1e-9)


def test_a_name_that_repeats_keeps_its_first_pose(tmp_path, caplog):
    path = tmp_path / "poses.txt"
    path.write_text("a.jpg 1 0 0 0 1 2 3\na.jpg 1 0 0 0 4 5 6\nb.jpg 2 0 0 0 1 2 3\n")
    read = read_pose_list(path)
    assert list(read) == ["a.jpg"]
    np.testing.assert_array_equal(read["a.jpg"][:3, 3], [1.0, 2.0, 3.0])
    assert "2 of 3 lines" in caplog.text
