"""Recordings and files as drivers, recorders and people make them: read rightly, or refused.

Each case is of the form of public reports about other packages of this kind, made up from scratch.
"""

import argparse
import json
import math
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import world_drive
from rosbags.rosbag1 import Writer as Ros1Writer
from world_drive import (
    CAMERA,
    HEIGHT,
    START,
    WIDTH,
    Item,
    drive,
    fill_ros1,
    of_type,
    write_bag,
    write_mcap,
)

from fgsn_ros.cli import main
from fgsn_ros.errors import CheckpointError
from fgsn_ros.messages.types import BAG_TYPES
from fgsn_ros.recordings.open import open_recording
from fgsn_ros.recordings.recording import Recording
from fgsn_ros.segmentation.networks.weight_files import read_state_dict


class World:
    """Where a case is made, and what running commands on it said."""

    def __init__(
        self,
        folder: Path,
        checkpoint: Path,
        capsys: pytest.CaptureFixture[str],
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        self.folder = folder
        self.checkpoint = checkpoint
        self._capsys = capsys
        self._caplog = caplog
        self.out = self.err = ""

    def run(self, *arguments: object) -> int:
        code = main([*map(str, arguments)])
        self.out, self.err = self._capsys.readouterr()
        self.err += "".join(f"{message}\n" for message in self._caplog.messages)
        self._caplog.clear()
        assert "Traceback" not in self.err
        return code

    def segment(self, path: Path) -> list[str]:
        """Names of the images that the command labelled."""
        output = self.folder / "labels"
        arguments = ["--checkpoint", self.checkpoint, "--output", output, "--overwrite"]
        assert self.run("segment", path, *arguments) == 0, self.err
        return sorted(file.stem for file in (output / "labels").glob("*.png"))

    def refused(self, *arguments: object) -> str:
        """The one line that a command refuses with; it leaves nothing behind."""
        output = self.folder / "output"
        assert self.run(*arguments, "--output", output) == 2
        assert not output.exists()
        (line,) = [line for line in self.err.splitlines() if line.startswith("fgsn: error: ")]
        return line

    def refused_segment(self, path: Path) -> str:
        return self.refused("segment", path, "--checkpoint", self.checkpoint)

    def errors(self, estimate: Path, reference: Path) -> dict[str, float]:
        """What `fgsn evaluate` measured."""
        output = self.folder / "report"
        assert self.run("evaluate", estimate, reference, "--output", output) == 0, self.err
        metrics: dict[str, float] = json.loads((output / "metrics.json").read_text())
        return metrics


def read(path: Path) -> Recording:
    return open_recording(path)


def camera_infos(world: World, change: Callable[[object], None], frames: int = 4) -> Recording:
    """A drive whose CameraInfo messages are all changed."""
    items = list(drive(frames))
    for message in of_type(items, "CameraInfo"):
        change(message)
    return read(write_bag(world.folder / "bag", items))


def camera_body_axes(world: World) -> None:
    """The mounting has the axes of the body: x ahead."""
    items = list(drive())
    (transforms,) = of_type(items, "TFMessage")
    rotation = transforms.transforms[0].transform.rotation
    rotation.x = rotation.y = rotation.z = 0.0
    rotation.w = 1.0
    bag = write_bag(world.folder / "bag", items)
    output = world.folder / "map"
    world.run("map", bag, "--checkpoint", world.checkpoint, "--output", output)
    assert "optical" in world.err
    assert "camera" in world.err


def camera_info_binning(world: World) -> None:
    """REP 104: size and K are of the full sensor, 2 x 2 of its pixels are one of the image."""

    def full_sensor(info) -> None:
        info.width, info.height, info.binning_x, info.binning_y = 2 * WIDTH, 2 * HEIGHT, 2, 2
        info.k = np.array([120.0, 0, 63.5, 0, 120.0, 47.5, 0, 0, 1])

    recording = camera_infos(world, full_sensor)
    assert recording.cameras["camera"].camera == CAMERA
    assert len(list(recording.frames())) == 4


def camera_info_first_zero(world: World) -> None:
    """The driver's first CameraInfo is empty."""
    items = list(drive())
    first = of_type(items, "CameraInfo")[0]
    first.k, first.d, first.distortion_model = np.zeros(9), np.zeros(0), ""
    first.width = first.height = 0
    recording = read(write_bag(world.folder / "bag", items))
    assert recording.cameras["camera"].camera == CAMERA


def camera_info_frame_empty(world: World) -> None:
    """The image's frame serves."""

    def no_frame(info) -> None:
        info.header.frame_id = ""

    mount = camera_infos(world, no_frame).cameras["camera"]
    assert mount.frame_id == world_drive.OPTICAL_FRAME
    np.testing.assert_allclose(mount.T_base_camera, world_drive.T_BASE_CAMERA, atol=1e-12)


def checkpoint_args_namespace(world: World) -> None:
    """Settings of a training script beside the weights: objects of any class are no data."""
    weights = {"conv1.weight": torch.zeros(1)}
    path = world.folder / "a.pth"
    torch.save({"model": weights, "epoch": 1, "args": argparse.Namespace(lr=0.01)}, path)
    with pytest.raises(CheckpointError, match="Namespace") as refusal:
        read_state_dict(path)
    assert "\x1b" not in str(refusal.value)
    assert "torch.save" in str(refusal.value)
    path = world.folder / "b.pth"
    torch.save({"state_dict": weights, "best_miou": np.float64(0.5)}, path)
    assert list(read_state_dict(path)) == ["conv1.weight"]


def format_h264(world: World) -> None:
    items = list(drive())
    for message in of_type(items, "CompressedImage"):
        message.format = "h264"
        message.data = np.array([0, 0, 0, 1, 0x67, 0x42, 0, 0x1F, *range(200)], np.uint8)
    assert "h264" in world.refused_segment(write_bag(world.folder / "bag", items))


def format_without_bgr(world: World) -> None:
    """As image_transport wrote it once: the JPEG's channels are in the order of rgb8."""
    items = list(drive())
    red = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    red[..., 0] = 200
    for message in of_type(items, "CompressedImage"):
        message.format = "rgb8; jpeg compressed "
        message.data = cv2.imencode(".jpg", red)[1].ravel()
    frame = next(iter(read(write_bag(world.folder / "bag", items)).frames()))
    np.testing.assert_allclose(frame.image.mean((0, 1)), [200, 0, 0], atol=3)


def ground_truth_one_nan(world: World) -> None:
    items = list(drive())
    bad = [item.message for item in items if item.topic == "/ground_truth"][3]
    bad.pose.pose.position.x = math.nan
    bag = write_bag(world.folder / "bag", items)
    assert len(world.segment(bag)) == 4
    truth = read(bag).ground_truth
    assert truth is not None
    np.testing.assert_allclose(truth.stamps - START, np.delete(0.05 * np.arange(10), 3), atol=1e-6)


def image_stamps_zero(world: World) -> None:
    items = list(drive(12))
    for message in of_type(items, "CompressedImage"):
        message.header.stamp.sec = message.header.stamp.nanosec = 0
    assert "stamp" in world.refused_segment(write_bag(world.folder / "bag", items))


def images_only(world: World) -> None:
    """Labelling needs no calibration, mounting or odometry."""
    images = (item for item in drive() if item.topic.endswith("/compressed"))
    assert len(world.segment(write_bag(world.folder / "bag", images))) == 4


def images_swapped(world: World) -> None:
    """Two neighbours come in the wrong order."""
    items = list(drive())
    second, third = of_type(items, "CompressedImage")[1:3]
    second.header.stamp, third.header.stamp = third.header.stamp, second.header.stamp
    bag = write_bag(world.folder / "bag", items)
    assert world.segment(bag) == [f"{START + 0.1 * i:.6f}" for i in range(4)]


def mcap_cut(world: World) -> None:
    """The recorder was killed: no footer, no metadata.yaml."""
    bag = write_bag(world.folder / "bag", drive(30))
    (file,) = bag.glob("*.mcap")
    file.write_bytes(file.read_bytes()[: file.stat().st_size * 8 // 10])
    (bag / "metadata.yaml").unlink()
    assert "mcap recover" in world.refused_segment(bag)


def model_fisheye(world: World) -> None:
    """OpenCV's name for what ROS calls equidistant."""
    coefficients = [0.0598, 0.0074, -0.0057, 0.0019]

    def fisheye(info) -> None:
        info.distortion_model, info.d = "fisheye", np.array(coefficients)

    camera = camera_infos(world, fisheye).cameras["camera"].camera
    ray = np.array([[0.3, -0.2, 1.0]])
    expected, _ = cv2.fisheye.projectPoints(
        ray[None], np.zeros(3), np.zeros(3), camera.matrix, np.array(coefficients)
    )
    np.testing.assert_allclose(camera.project(ray)[0], expected[0], atol=1e-9)


def model_none(world: World) -> None:
    """Without coefficients there is no distortion, whatever its name."""

    def none(info) -> None:
        info.distortion_model, info.d = "none", np.zeros(5)

    camera = camera_infos(world, none).cameras["camera"].camera
    np.testing.assert_allclose(camera.project(np.array([[0.3, -0.2, 1.0]]))[0], [[49.5, 11.5]])


def model_oak_14(world: World) -> None:
    """OpenCV's full model: rational, thin prism, tilted sensor."""
    coefficients = [0.334, -0.039, -7e-5, -2e-5, -0.0015, 0.665, -0.0098, -0.0093]
    coefficients += [0, 0, 0, 0, 2e-4, -5e-4]

    def full(info) -> None:
        info.distortion_model, info.d = "rational_polynomial", np.array(coefficients)

    camera = camera_infos(world, full).cameras["camera"].camera
    ray = np.array([[0.3, -0.2, 1.0]])
    expected, _ = cv2.projectPoints(
        ray, np.zeros(3), np.zeros(3), camera.matrix, np.array(coefficients)
    )
    np.testing.assert_allclose(camera.project(ray)[0], expected[0], atol=1e-9)


def odometry_zero_quaternion_first(world: World) -> None:
    """The driver has not begun yet."""
    items = list(drive())
    for message in [item.message for item in items if item.topic == "/odom"][:2]:
        orientation = message.pose.pose.orientation
        orientation.x = orientation.y = orientation.z = orientation.w = 0.0
    odometry = read(write_bag(world.folder / "bag", items)).odometry
    assert odometry is not None
    np.testing.assert_allclose(odometry.stamps, START + 0.05 * np.arange(2, 10))


def one_damaged_image(world: World) -> None:
    items = list(drive(10))
    sixth = of_type(items, "CompressedImage")[5]
    sixth.data = sixth.data[: len(sixth.data) // 2]
    names = world.segment(write_bag(world.folder / "bag", items))
    assert names == [f"{START + 0.1 * i:.6f}" for i in range(10) if i != 5]


def ost_yaml_fisheye(world: World) -> None:
    """As ROS's camera_calibration writes it for a fisheye, with a small skew."""
    folder = world.folder / "drive"
    (folder / "images").mkdir(parents=True)
    for i in range(3):
        image = world_drive.picture(i)
        cv2.imwrite(str(folder / f"images/{START + i / 10:.1f}.png"), image)
    (folder / "camera.yaml").write_text(
        "image_width: 64\nimage_height: 48\ncamera_name: cam\ncamera_matrix:\n  rows: 3\n"
        "  cols: 3\n  data: [ 60.1, {skew}, 31.2, 0., 60.2, 23.8, 0., 0., 1.]\n"
        "camera_model: fisheye\ndistortion_coefficients:\n  rows: 1\n  cols: 4\n"
        "  data: [0.17, -0.03, 0.0004, -0.0007]\n".replace("{skew}", "0.")
    )
    (folder / "poses.txt").write_text(
        "".join(f"{START + i / 10:.1f} {i / 10} 0 0 0 0 0 1\n" for i in range(9))
    )
    (mount,) = read(folder).cameras.values()
    camera = mount.camera
    assert camera.distortion_model == "equidistant"
    assert camera.distortion == (0.17, -0.03, 0.0004, -0.0007)
    text = (folder / "camera.yaml").read_text()
    (folder / "camera.yaml").write_text(text.replace("60.1, 0.", "60.1, -0.5"))
    skewed = read(folder).cameras[mount.frame_id].camera
    ray = np.array([[0.3, -0.2, 1.0]])
    shift = skewed.project(ray)[0] - camera.project(ray)[0]
    y = (camera.project(ray)[0][0, 1] - 23.8) / 60.2
    np.testing.assert_allclose(shift, [[-0.5 * y, 0.0]], atol=1e-9)


def other_type_json(world: World) -> None:
    """A topic that nobody needs has a schema that is no message definition."""
    items = list(drive())
    gear = Item("/gear", "my_msgs/msg/Gear", START + 0.1, b"\0\1\0\0\1\0\0\0")
    schemas = {"my_msgs/msg/Gear": ("jsonschema", "{}")}
    bag = write_mcap(world.folder / "bag.mcap", [*items, gear], schemas)
    assert len(world.segment(bag)) == 4
    assert len(read(bag).odometry or ()) == 10


def other_type_ros1_broken(world: World) -> None:
    """A ROS 1 topic that nobody needs lacks a part of its definition."""
    bag = world.folder / "bag.bag"
    with Ros1Writer(bag) as writer:
        fill_ros1(writer, drive())
        definition = "sensor_msgs/Imu imu\nmy_other_msgs/Thing thing"
        broken = writer.add_connection(
            "/readings", "my_msgs/msg/Readings", msgdef=definition, md5sum="0123456789abcdef" * 2
        )
        writer.write(broken, round((START + 0.2) * 1e9), b"\0" * 16)
    assert len(world.segment(bag)) == 4
    assert len(read(bag).odometry or ()) == 10


def quaternion_far_from_unit(world: World) -> None:
    """The quaternion has lost its w."""

    def row(t: int, w: float) -> str:
        half = (0.3 + 0.02 * t) / 2
        return f"{t}.0 {t}.0 0 0 0 0 {math.sin(half):.8f} {w * math.cos(half):.8f}\n"

    broken, whole = world.folder / "a.tum", world.folder / "b.tum"
    broken.write_text("".join(row(t, 0.0) for t in range(1, 9)))
    whole.write_text("".join(row(t, 1.0) for t in range(1, 9)))
    assert "quaternion" in world.refused("evaluate", broken, whole)


def reference_hole(world: World) -> None:
    """What lies in a hole of the reference is not known; it is not on the line between its ends."""

    def row(t: float) -> str:
        half = math.atan2(3 * math.cos(t), 2.0) / 2
        rotation = f"0 0 {math.sin(half):.8f} {math.cos(half):.8f}"
        return f"{t:.2f} {2 * t:.6f} {3 * math.sin(t):.6f} 0 {rotation}\n"

    stamps = 0.1 * np.arange(101)
    estimate, reference = world.folder / "estimate.tum", world.folder / "reference.tum"
    estimate.write_text("".join(row(t) for t in stamps))
    seen = [t for t in stamps if not 3.05 < t < 6.95]
    reference.write_text("".join(row(t) for t in seen))
    errors = world.errors(estimate, reference)["localized"]
    assert errors["position_m"]["maximum"] < 1e-5
    assert errors["left_out"] == 39
    assert errors["frames"] == len(seen)


def standard_type_without_schema(world: World) -> None:
    bag = write_mcap(world.folder / "bag.mcap", drive(), {"nav_msgs/msg/Odometry": ("", "")})
    assert len(world.segment(bag)) == 4
    odometry = read(bag).odometry
    assert odometry is not None
    np.testing.assert_allclose(odometry.poses[-1], world_drive.pose_at(START + 0.45), atol=1e-9)


def tf_nan_elsewhere(world: World) -> None:
    """A frame that the camera does not hang on has no place."""
    items = list(drive())
    (transforms,) = of_type(items, "TFMessage")
    nan = world_drive.make_transform(BAG_TYPES, START, "camera_link", "imu", np.eye(4))
    nan.transform.translation.x = nan.transform.rotation.w = math.nan
    transforms.transforms.append(nan)
    bag = write_bag(world.folder / "bag", items)
    assert len(world.segment(bag)) == 4
    mount = read(bag).cameras["camera"]
    np.testing.assert_allclose(mount.T_base_camera, world_drive.T_BASE_CAMERA, atol=1e-12)


def tum_rows() -> list[str]:
    return [f"{t}.0 {t}.0 0 0 0 0 0 1\n" for t in range(1, 9)]


def tum_bom(world: World) -> None:
    """A byte order mark, as editors of Windows write it."""
    marked, plain = world.folder / "a.tum", world.folder / "b.tum"
    marked.write_bytes(b"\xef\xbb\xbf" + "".join(tum_rows()).encode())
    plain.write_text("".join(tum_rows()))
    errors = world.errors(marked, plain)["localized"]
    assert errors["frames"] == 8
    assert errors["position_m"]["maximum"] == 0.0


def tum_equal_stamp(world: World) -> None:
    """The first pose of a stamp counts, as the benchmarks' own files ask for."""
    twice, plain = world.folder / "a.tum", world.folder / "b.tum"
    twice.write_text("".join([*tum_rows()[:4], "4.0 4.001 0 0 0 0 0 1\n", *tum_rows()[4:]]))
    plain.write_text("".join(tum_rows()))
    errors = world.errors(plain, twice)["localized"]
    assert errors["frames"] == 8
    assert errors["position_m"]["maximum"] == 0.0


def unpadded_image_names(world: World) -> None:
    """2.png comes before 10.png."""
    folder = world.folder / "drive"
    (folder / "images").mkdir(parents=True)
    for i in range(12):
        image = np.full((HEIGHT, WIDTH, 3), 20 * i, np.uint8)
        cv2.imwrite(str(folder / f"images/{i}.png"), image)
    (folder / "times.txt").write_text("".join(f"{START + i / 10:.1f}\n" for i in range(12)))
    (folder / "camera.yaml").write_text(
        "image_width: 64\nimage_height: 48\n"
        "camera_matrix: {data: [60, 0, 31.5, 0, 60, 23.5, 0, 0, 1]}\n"
        "distortion_model: plumb_bob\ndistortion_coefficients: {data: [0, 0, 0, 0, 0]}\n"
    )
    shown = {round(10 * (f.stamp - START)): f.image[0, 0, 0] // 20 for f in read(folder).frames()}
    assert shown == {i: i for i in range(12)}


def yuyv_odd_width(world: World) -> None:
    """Pairs of pixels share their colour; the last of a row has none to share with."""
    items = list(drive())
    for message in of_type(items, "CameraInfo"):
        message.width = 63
    images = [
        Item("/camera/image", "sensor_msgs/msg/Image", item.stamp, yuyv(item.message.header))
        if item.topic.endswith("/compressed")
        else item
        for item in items
    ]
    frames = list(read(write_bag(world.folder / "bag", images)).frames())
    assert [frame.image.shape for frame in frames] == [(48, 63, 3)] * 4
    assert np.abs(frames[0].image.astype(int) - 130).max() <= 2  # (128 - 16) 255 / 219


def yuyv(header):
    return BAG_TYPES.make(
        "sensor_msgs/msg/Image",
        header=header,
        height=48,
        width=63,
        encoding="yuv422_yuy2",
        is_bigendian=0,
        step=126,
        data=np.full(126 * 48, 128, np.uint8),
    )


CASES = [
    camera_body_axes,
    camera_info_binning,
    camera_info_first_zero,
    camera_info_frame_empty,
    checkpoint_args_namespace,
    format_h264,
    format_without_bgr,
    ground_truth_one_nan,
    image_stamps_zero,
    images_only,
    images_swapped,
    mcap_cut,
    model_fisheye,
    model_none,
    model_oak_14,
    odometry_zero_quaternion_first,
    one_damaged_image,
    ost_yaml_fisheye,
    other_type_json,
    other_type_ros1_broken,
    quaternion_far_from_unit,
    reference_hole,
    standard_type_without_schema,
    tf_nan_elsewhere,
    tum_bom,
    tum_equal_stamp,
    unpadded_image_names,
    yuyv_odd_width,
]


@pytest.mark.parametrize("check", CASES, ids=lambda check: check.__name__)
def test_what_the_world_records_is_read_rightly_or_refused(
    check: Callable[[World], None],
    workplace,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    check(World(tmp_path, workplace.checkpoint, capsys, caplog))
