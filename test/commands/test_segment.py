import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from fgsn_ros.cli import main
from fgsn_ros.commands.demo import PACKAGED_CHECKPOINT
from fgsn_ros.commands.segment_input import open_input
from fgsn_ros.geometry.cameras import Camera, CameraMount
from fgsn_ros.recordings.recording import Frame, RecordingSettings
from fgsn_ros.recordings.rosbag_writer import RecordingWriter
from fgsn_ros.recordings.video import VideoWriter, open_video
from fgsn_ros.segmentation.architectures import LRASPP
from fgsn_ros.segmentation.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from fgsn_ros.segmentation.networks import make_network
from fgsn_ros.segmentation.segmenter import Segmenter
from fgsn_ros.segmentation.sliding import SlidingSegmenter

RNG = np.random.default_rng(0)


def run(given: Path, checkpoint: Path, *arguments: object) -> int:
    words = ("segment", given, "--checkpoint", checkpoint, *arguments)
    return main([str(word) for word in words])


def save_image(path: Path, height: int = 70, width: int = 100) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), RNG.integers(0, 255, (height, width, 3), np.uint8))
    return path


def save_video(path: Path, frames: int = 12) -> Path:
    writer = VideoWriter(path)
    for index in range(frames):
        writer.add(0.2 * index, np.full((64, 96, 3), 15 * index, np.uint8))
    writer.close()
    return path


def read_labels(path: Path) -> np.ndarray:
    labels = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    assert labels is not None
    return np.asarray(labels)


def files(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.*"))


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    save_image(folder / "b.png")
    save_image(folder / "town" / "a.1.jpg", 30, 41)
    save_image(folder / ".hidden" / "c.png")
    (folder / "._b.png").write_bytes(b"no image")
    return folder


def test_a_folder_and_its_subfolders_are_labelled_on_a_grid(
    images: Path, workplace: Any, tmp_path: Path
) -> None:
    output = tmp_path / "labels"
    assert run(images, workplace.checkpoint, "--output", output) == 0
    assert files(output) == [
        "labels.json",
        "labels/b.png",
        "labels/town/a.1.png",
        "overlays/b.jpg",
        "overlays/town/a.1.jpg",
    ]
    image = cv2.imread(str(images / "b.png"))
    assert image is not None
    expected = Segmenter(load_checkpoint(workplace.checkpoint)).segment(
        np.ascontiguousarray(image[..., ::-1], np.uint8)
    )
    labels = read_labels(output / "labels" / "b.png")
    assert (labels.shape, labels.dtype) == ((18, 25), np.uint8)
    np.testing.assert_array_equal(labels, expected.labels)
    assert read_labels(output / "labels" / "town" / "a.1.png").shape == (8, 11)
    assert read_labels(output / "overlays" / "b.jpg").shape == (70, 100, 3)
    content = json.loads((output / "labels.json").read_text())
    assert content["stride"] == 4
    assert content["fingerprint"] == load_checkpoint(workplace.checkpoint).fingerprint


def test_full_resolution_labels_every_pixel(workplace: Any, tmp_path: Path) -> None:
    image = save_image(tmp_path / "a.png")
    for name, option in (("grid", "--no-overlays"), ("full", "--full-resolution")):
        assert run(image, workplace.checkpoint, "--output", tmp_path / name, option) == 0
    grid, full = (read_labels(tmp_path / name / "labels" / "a.png") for name in ("grid", "full"))
    assert full.shape == (70, 100)
    np.testing.assert_array_equal(full[1::4, 2::4], grid)
    assert json.loads((tmp_path / "full" / "labels.json").read_text())["stride"] == 1
    assert not (tmp_path / "grid" / "overlays").exists()


def test_crops_slide_and_label_every_pixel(images: Path, workplace: Any, tmp_path: Path) -> None:
    output = tmp_path / "labels"
    assert run(images, workplace.checkpoint, "--output", output, "--crop", 64) == 0
    image = cv2.imread(str(images / "b.png"))
    assert image is not None
    segmenter = SlidingSegmenter(load_checkpoint(workplace.checkpoint), 64)
    expected = segmenter.segment(np.ascontiguousarray(image[..., ::-1], np.uint8))
    np.testing.assert_array_equal(read_labels(output / "labels" / "b.png"), expected.labels)
    assert read_labels(output / "labels" / "town" / "a.1.png").shape == (30, 41)
    assert json.loads((output / "labels.json").read_text())["stride"] == 1


def test_a_crop_that_is_too_small_is_told(
    images: Path, workplace: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ("--output", tmp_path / "labels", "--crop", 5)
    assert run(images, workplace.checkpoint, *options) == 2
    assert "must have at least 8" in capsys.readouterr().err
    assert not (tmp_path / "labels").exists()


def test_an_onnx_file_labels_without_pytorch(images: Path, tmp_path: Path) -> None:
    town = PACKAGED_CHECKPOINT.with_suffix(".onnx")
    code = (
        "import sys; from fgsn_ros.cli import main; code = main(sys.argv[1:]);"
        "print({'torch', 'torchvision', 'onnx'} & sys.modules.keys()); sys.exit(code)"
    )
    given = ("segment", images, "--checkpoint", town, "--output", tmp_path / "labels")
    words = [sys.executable, "-c", code, *map(str, given)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "set()"
    assert run(images, town.with_suffix(".safetensors"), "--output", tmp_path / "same") == 0
    for name in files(tmp_path / "same"):
        assert (tmp_path / "same" / name).read_bytes() == (tmp_path / "labels" / name).read_bytes()


def test_labels_above_255_are_kept_whole_and_named_classes_listed(tmp_path: Path) -> None:
    network = make_network(LRASPP, 300, torch.Generator().manual_seed(0)).eval()
    with torch.no_grad():
        network.classifier.bias[:280] -= 100.0
    names = tuple(f"class {label}" for label in range(300))
    checkpoint = tmp_path / "checkpoint.safetensors"
    save_checkpoint(checkpoint, Checkpoint(network, kind="semantic", label_names=names))
    image = save_image(tmp_path / "a.png")
    assert run(image, checkpoint, "--output", tmp_path / "labels") == 0
    labels = read_labels(tmp_path / "labels" / "labels" / "a.png")
    assert labels.dtype == np.uint16
    assert 280 <= labels.min() <= labels.max() < 300
    assert (tmp_path / "labels" / "classes.txt").read_text().splitlines() == list(names)


def test_a_video_is_labelled_frame_by_frame(workplace: Any, tmp_path: Path) -> None:
    video, output = save_video(tmp_path / "drive.mp4"), tmp_path / "labels"
    assert run(video, workplace.checkpoint, "--output", output, "--video") == 0
    names = [f"{index:06d}" for index in range(12)]
    assert files(output / "labels") == [f"{name}.png" for name in names]
    assert files(output / "overlays") == [f"{name}.jpg" for name in names]
    overlay = open_video(output / "overlay.mp4")
    assert (overlay.frame_count, overlay.rate_hz) == (12, pytest.approx(5.0))
    assert next(iter(overlay.frames()))[1].shape == (64, 96, 3)


def test_a_bag_is_labelled_with_stamps_as_names(workplace: Any, tmp_path: Path) -> None:
    output = tmp_path / "labels"
    arguments = (workplace.bag, workplace.checkpoint, "--output", output)
    assert run(*arguments, "--video", "--no-overlays") == 0
    stamps = [f"{1000.0 + 0.1 * index:.6f}" for index in range(12)]
    assert files(output) == [
        "labels.json",
        *(f"labels/{stamp}.png" for stamp in stamps),
        "overlay.mp4",
    ]
    assert open_video(output / "overlay.mp4").rate_hz == pytest.approx(10.0)


def test_each_camera_of_a_bag_has_its_folder(workplace: Any, tmp_path: Path) -> None:
    camera = Camera(96, 64, 80.0, 80.0, 47.5, 31.5)
    with RecordingWriter(tmp_path / "bag") as writer:
        for name in ("left", "right"):
            writer.add_camera(name, CameraMount(camera, np.eye(4), f"{name}_optical"))
        for index in range(3):
            for name in ("left", "right"):
                image = RNG.integers(0, 255, (64, 96, 3), np.uint8)
                writer.write_image(Frame(1000.0 + 0.1 * index, name, image))
    output = tmp_path / "labels"
    topics = ("/left/image/compressed", "/right/image/compressed")
    arguments = (tmp_path / "bag", workplace.checkpoint, "--output", output, "--video")
    assert run(*arguments, "--recording.image-topics", *topics) == 0
    assert len(files(output / "labels" / "left")) == len(files(output / "overlays" / "right")) == 3
    assert (output / "left" / "overlay.mp4").exists()
    assert (output / "right" / "overlay.mp4").exists()


def test_an_output_within_the_images_is_replaced_and_not_labelled(
    images: Path, workplace: Any
) -> None:
    for _ in range(2):
        arguments = (images, workplace.checkpoint, "--output", images / "labels", "--overwrite")
        assert run(*arguments) == 0
    assert files(images / "labels" / "labels") == ["b.png", "town/a.1.png"]


def refused(
    capfd: pytest.CaptureFixture[str],
    folder: Path,
    given: Path,
    checkpoint: Path,
    *arguments: object,
) -> str:
    """The one line of a refusal that leaves no output behind."""
    output = folder / "refused"
    assert run(given, checkpoint, *arguments, "--output", output) == 2
    error = capfd.readouterr().err.replace("\r", "\n")
    lines = [line for line in error.split("\n") if line and not line.startswith("label:")]
    assert len(lines) == 1, lines
    assert lines[0].startswith("fgsn: error: ")
    assert not list(folder.glob("*refused*"))
    return lines[0]


def test_inputs_that_hold_nothing_to_label_are_refused(
    images: Path, workplace: Any, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.txt").write_text("no video")
    (tmp_path / "nothing.png").touch()
    for name, words in (
        ("absent", "there is no"),
        ("empty", "holds no image"),
        ("text.txt", "no video"),
        ("nothing.png", "nothing.png is damaged"),
    ):
        assert words in refused(capfd, tmp_path, tmp_path / name, workplace.checkpoint)


def test_damaged_images_of_a_folder_are_skipped_and_counted_up_to_a_share(
    images: Path,
    workplace: Any,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    whole = save_image(images / "a.png").read_bytes()
    (images / "b.png").write_bytes(whole[: len(whole) // 2])
    assert run(images, workplace.checkpoint, "--output", tmp_path / "labels") == 0
    assert files(tmp_path / "labels" / "labels") == ["a.png", "town/a.1.png"]
    assert "1 of 3 images: 1 damaged (first: b.png) are left out" in caplog.text
    capfd.readouterr()
    for name in ("c.png", "d.png"):
        (images / name).write_bytes(b"")
    assert "3 damaged" in refused(capfd, tmp_path, images, workplace.checkpoint)


def test_a_cut_video_and_a_cut_bag_are_refused(
    workplace: Any, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    video = save_video(tmp_path / "drive.mkv", 16)
    video.write_bytes(video.read_bytes()[: video.stat().st_size // 2])
    arguments = (video, workplace.checkpoint, "--video")
    assert "drive.mkv is damaged" in refused(capfd, tmp_path, *arguments)
    shutil.copytree(workplace.bag, tmp_path / "bag")
    (storage,) = (tmp_path / "bag").glob("*.mcap")
    storage.write_bytes(storage.read_bytes()[: storage.stat().st_size // 2])
    assert "bag" in refused(capfd, tmp_path, tmp_path / "bag", workplace.checkpoint)


def test_options_that_do_not_fit_the_input_are_refused(
    images: Path, workplace: Any, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    line = refused(capfd, tmp_path, images, workplace.checkpoint, "--video")
    assert "--video takes a video or a recording" in line
    line = refused(capfd, tmp_path, images, workplace.checkpoint, "--recording.first", "2")
    assert "no recording" in line
    save_image(images / "b.jpg")
    assert "several images named b" in refused(capfd, tmp_path, images, workplace.checkpoint)


def in_two_processes(*arguments: object) -> str:
    """What a command prints that runs as with `torchrun`, by gloo on the CPU."""
    torchrun = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
    words = (sys.executable, *torchrun, "-m", "fgsn_ros.cli", "segment", *arguments)
    run = subprocess.run(list(map(str, words)), capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stderr
    return run.stdout


def test_two_processes_write_the_files_of_one(workplace: Any, tmp_path: Path) -> None:
    for index in range(5):
        save_image(tmp_path / "images" / f"{index}.png")
    given = tmp_path / "images"
    assert run(given, workplace.checkpoint, "--output", tmp_path / "one") == 0
    printed = in_two_processes(
        given, "--checkpoint", workplace.checkpoint, "--output", tmp_path / "two"
    )
    assert printed.count("labels of 5 images") == 1
    assert files(tmp_path / "two") == files(tmp_path / "one")
    for name in files(tmp_path / "one"):
        assert (tmp_path / "two" / name).read_bytes() == (tmp_path / "one" / name).read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["images", "one", "two"]


def test_processes_share_a_recording_s_images(workplace: Any) -> None:
    whole = open_input(workplace.bag, RecordingSettings(), Path("none"))
    parts = [
        open_input(workplace.bag, RecordingSettings(), Path("none")).images(first, 3)
        for first in range(3)
    ]
    names = [[named.name for named in part] for part in parts]
    every = [named.name for named in whole.images(0, 1)]
    assert names == [every[first::3] for first in range(3)]
    assert len(every) == whole.count
