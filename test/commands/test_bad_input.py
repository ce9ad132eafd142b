"""Bad input ends a command with one line and exit code 2, and leaves no output behind."""

import dataclasses
import re
import resource
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from fgsn_ros.cli import main
from fgsn_ros.geometry.cameras import T_BASE_OPTICAL, Camera, CameraMount
from fgsn_ros.mapping.map_files import load_map, save_map
from fgsn_ros.messages.images import make_camera_info, make_jpeg
from fgsn_ros.messages.poses import make_odometry
from fgsn_ros.messages.types import BAG_TYPES, make_header
from fgsn_ros.recordings.recording import Frame
from fgsn_ros.recordings.rosbag_writer import RecordingWriter

Write = Callable[[RecordingWriter, float], None]


_PROGRESS = re.compile(r"\||^compiling kernels")


class Refused:
    """Runs `fgsn` and asserts that it refuses in one line, with nothing half-written."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.output = folder / "output"
        self.output.mkdir()
        self._capsys = capsys

    def __call__(self, *arguments: object) -> str:
        code = main([*map(str, arguments), "--output", str(self.output / "result")])
        lines = [
            line
            for line in self._capsys.readouterr().err.replace("\r", "\n").split("\n")
            if line.strip()
        ]
        message = [line for line in lines if "fgsn:" in line or not _PROGRESS.search(line)]
        assert code == 2, message
        assert len(message) == 1, message
        assert message[0].startswith("fgsn: error: ")
        assert list(self.output.iterdir()) == []
        return message[0]


@pytest.fixture
def refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Refused:
    return Refused(tmp_path, capsys)


@pytest.fixture
def kitti(tmp_path: Path) -> Path:
    folder = tmp_path / "kitti"
    (folder / "image_0").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for number in range(5, 12):
        image = rng.integers(0, 255, (64, 96), np.uint8)
        cv2.imwrite(str(folder / "image_0" / f"{number:06d}.png"), image)
    row = "80 0 47.5 0 0 80 31.5 0 0 0 1 0"
    (folder / "calib.txt").write_text("".join(f"P{i}: {row}\n" for i in range(4)))
    (folder / "times.txt").write_text("".join(f"{0.1 * i:e}\n" for i in range(20)))
    poses = "".join(f"1 0 0 0 0 1 0 0 0 0 1 {0.5 * i}\n" for i in range(20))
    (folder / "poses.txt").write_text(poses)
    return folder


def localize(workplace: Any, recording: Path) -> list[object]:
    return [
        "localize",
        recording,
        "--map",
        workplace.map,
        "--checkpoint",
        workplace.checkpoint,
        "--no-bag",
    ]


def test_a_kitti_folder_with_missing_frames(workplace: Any, kitti: Path, refused: Refused) -> None:
    for number in (8, 9, 10):
        (kitti / "image_0" / f"{number:06d}.png").unlink()
    assert "frame 8" in refused("map", kitti, "--checkpoint", workplace.checkpoint)


def test_an_empty_bag(workplace: Any, tmp_path: Path, refused: Refused) -> None:
    empty = tmp_path / "empty.bag"
    empty.touch()
    assert "empty.bag" in refused(*localize(workplace, empty))


def test_an_empty_folder(workplace: Any, tmp_path: Path, refused: Refused) -> None:
    (tmp_path / "nothing").mkdir()
    assert "nothing" in refused(*localize(workplace, tmp_path / "nothing"))


def test_a_missing_recording(workplace: Any, tmp_path: Path, refused: Refused) -> None:
    assert "absent" in refused(*localize(workplace, tmp_path / "absent"))


@pytest.mark.parametrize("share", [0.1, 0.5, 0.8])
def test_a_truncated_bag(share: float, workplace: Any, tmp_path: Path, refused: Refused) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(workplace.bag, copy)
    (file,) = copy.glob("*.mcap")
    data = file.read_bytes()
    file.write_bytes(data[: int(share * len(data))])
    assert "copy" in refused(*localize(workplace, copy))


def nothing(writer: RecordingWriter, stamp: float) -> None:
    """Leave a topic out."""


def not_finite(writer: RecordingWriter, stamp: float) -> None:
    T_odom_base = np.eye(4)
    T_odom_base[0, 3] = np.nan if stamp > 1000.45 else stamp
    writer.write_odometry(stamp, T_odom_base)


def backwards(writer: RecordingWriter, stamp: float) -> None:
    stamped = stamp if stamp < 1000.45 else 2000.85 - stamp
    message = make_odometry(BAG_TYPES, stamped, "odom", "base_link", np.eye(4))
    writer.write("/odom", stamp, message)


def too_small(writer: RecordingWriter, stamp: float) -> None:
    image = np.zeros((60, 90, 3), np.uint8)
    writer.write_image(Frame(stamp, "camera", image))


def without_info(writer: RecordingWriter, stamp: float) -> None:
    header = make_header(BAG_TYPES, stamp, "camera_optical")
    image = make_jpeg(BAG_TYPES, header, np.zeros((64, 96, 3), np.uint8), 90)
    writer.write("/camera/image/compressed", stamp, image)


def unmounted(writer: RecordingWriter, stamp: float) -> None:
    without_info(writer, stamp)
    header = make_header(BAG_TYPES, stamp, "elsewhere")
    info = make_camera_info(BAG_TYPES, header, Camera(96, 64, 80.0, 80.0, 47.5, 31.5))
    writer.write("/camera/camera_info", stamp, info)


@pytest.mark.parametrize(
    ("odometry", "image", "mounted", "words"),
    [
        (nothing, None, True, ("no odometry", "derive_odometry")),
        (not_finite, None, True, ("odom",)),
        (backwards, None, True, ("odom",)),
        (None, nothing, True, ("no image",)),
        (None, too_small, True, ("90x60", "96x64")),
        (None, without_info, True, ("camera_info",)),
        (None, unmounted, False, ("/tf_static",)),
    ],
)
def test_a_bag_that_lacks_something_or_holds_nonsense(
    odometry: Write | None,
    image: Write | None,
    mounted: bool,
    words: tuple[str, ...],
    workplace: Any,
    tmp_path: Path,
    refused: Refused,
) -> None:
    write_bag(tmp_path / "faulty", odometry, image, mounted)
    line = refused(*localize(workplace, tmp_path / "faulty"))
    assert all(word in line for word in words)


def write_bag(
    path: Path, odometry: Write | None, image: Write | None, mounted: bool, truth: bool = True
) -> None:
    """A bag with one part written by another function, or not at all."""
    camera = Camera(96, 64, 80.0, 80.0, 47.5, 31.5)
    pixels = np.random.default_rng(0).integers(0, 255, (64, 96, 3), np.uint8)
    with RecordingWriter(path) as writer:
        if mounted:
            writer.add_camera("camera", CameraMount(camera, T_BASE_OPTICAL, "camera_optical"))
        for stamp in np.arange(1000.0, 1001.0, 0.1):
            if truth:
                writer.write_ground_truth(stamp, np.eye(4))
            if odometry:
                odometry(writer, stamp)
            else:
                writer.write_odometry(stamp, np.eye(4))
            if image:
                image(writer, stamp)
            else:
                writer.write_image(Frame(stamp, "camera", pixels))


def test_a_damaged_bag_database(workplace: Any, tmp_path: Path, refused: Refused) -> None:
    file = tmp_path / "damaged.db3"
    file.write_bytes(b"SQLite format 3\x00" + bytes(range(256)) * 40)
    assert "damaged.db3" in refused(*localize(workplace, file))


@pytest.mark.parametrize(
    "content", [b"", b"garbage" * 100, b"\xff\xff\xff\xff\xff\xff\xff\x7f{}", b"\x02" + b"\0" * 7]
)
def test_a_checkpoint_of_garbage(
    content: bytes, workplace: Any, tmp_path: Path, refused: Refused
) -> None:
    checkpoint = tmp_path / "garbage.safetensors"
    checkpoint.write_bytes(content)
    assert "garbage.safetensors" in refused("map", workplace.bag, "--checkpoint", checkpoint)


def test_a_missing_checkpoint(workplace: Any, tmp_path: Path, refused: Refused) -> None:
    absent = tmp_path / "absent.safetensors"
    assert "absent.safetensors" in refused("map", workplace.bag, "--checkpoint", absent)


def test_a_map_of_another_checkpoint(workplace: Any, tmp_path: Path, refused: Refused) -> None:
    own = load_map(workplace.map)
    save_map(tmp_path / "map", dataclasses.replace(own, fingerprint="0" * 64))
    line = refused(
        "localize",
        workplace.bag,
        "--map",
        tmp_path / "map",
        "--checkpoint",
        workplace.checkpoint,
    )
    assert "labelled by" in line


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("meta.json", b"{"),
        ("meta.json", b'{"format": "fgsn_ros semantic map", "version": 99}'),
        ("points.npy", b"\x93NUMPY\x01\x00v\x00{'descr': '|O', 'fortran_order': False}"),
        ("keyframes.npy", b""),
    ],
)
def test_a_damaged_map(
    name: str, content: bytes, workplace: Any, tmp_path: Path, refused: Refused
) -> None:
    shutil.copytree(workplace.map, tmp_path / "map")
    (tmp_path / "map" / name).write_bytes(content)
    line = refused(
        "localize", workplace.bag, "--map", tmp_path / "map", "--checkpoint", workplace.checkpoint
    )
    assert str(tmp_path / "map") in line


def test_a_reference_of_another_time(workplace: Any, tmp_path: Path, refused: Refused) -> None:
    reference = tmp_path / "elsewhen.tum"
    reference.write_text("5000 0 0 0 0 0 0 1\n5001 1 0 0 0 0 0 1\n")
    line = refused(*localize(workplace, workplace.bag), "--reference", reference)
    assert "1000.000 to 1001.100 s" in line
    assert "5000.000 to 5001.000 s" in line


def test_no_initial_pose(workplace: Any, tmp_path: Path, refused: Refused) -> None:
    write_bag(tmp_path / "untold", None, None, mounted=True, truth=False)
    assert "--start.pose" in refused(*localize(workplace, tmp_path / "untold"))


def test_an_output_below_a_file(
    workplace: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    output = tmp_path / "file" / "result"
    arguments = [*localize(workplace, workplace.bag), "--output", output]
    assert main([str(argument) for argument in arguments]) == 2
    assert capsys.readouterr().err.startswith(f"fgsn: error: cannot write {output}")


def test_an_output_that_exists_is_kept(
    workplace: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine").write_text("precious")
    arguments = ["segment", tmp_path, "--checkpoint", workplace.checkpoint]
    arguments += ["--output", tmp_path / "mine"]
    cv2.imwrite(str(tmp_path / "image.png"), np.zeros((64, 96, 3), np.uint8))
    assert main([str(argument) for argument in arguments]) == 2
    assert "exists already" in capsys.readouterr().err
    assert (tmp_path / "mine").read_text() == "precious"


@contextmanager
def disk_with(free_bytes: int) -> Iterator[None]:
    """Files that grow past a size get EFBIG, as a full disk would give ENOSPC."""
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (free_bytes, old[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)


@pytest.mark.parametrize("bag", ["--bag", "--no-bag"])
@pytest.mark.parametrize("free_bytes", [10_000, 200])
def test_a_full_disk(
    bag: str, free_bytes: int, workplace: Any, tmp_path: Path, refused: Refused
) -> None:
    with disk_with(free_bytes):
        line = refused(*localize(workplace, workplace.bag), bag)
    assert f"cannot write {tmp_path / 'output' / 'result'}" in line
    assert "too large" in line
