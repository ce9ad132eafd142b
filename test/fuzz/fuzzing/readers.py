"""All that the package reads from outside, with valid inputs and the damages that suit them."""

import contextlib
import json
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import cv2
import numpy as np
import yaml

from fgsn_ros import cli
from fgsn_ros.config import load_yaml, override
from fgsn_ros.correspondences.images import ImageCache
from fgsn_ros.errors import SettingsError
from fgsn_ros.evaluation.label_folders import count_pairs, open_label_folder, pair_images
from fgsn_ros.evaluation.report import evaluation_table, summarize
from fgsn_ros.geometry import poses
from fgsn_ros.geometry.trajectory import read_tum
from fgsn_ros.localization.initial_pose import InitialPose, SavedPose, load_pose, save_pose
from fgsn_ros.localization.motion import MotionSettings
from fgsn_ros.mapping.map_files import load_map, save_map, told_sessions
from fgsn_ros.mapping.map_records import SESSIONS
from fgsn_ros.mapping.semantic_map import SemanticMap
from fgsn_ros.messages.images import camera_of, decode_image, image_of
from fgsn_ros.messages.types import TYPESTORE
from fgsn_ros.recordings.open import open_recording
from fgsn_ros.recordings.recording import Recording, RecordingSettings
from fgsn_ros.recordings.sensors import sensors_of
from fgsn_ros.recordings.video import VideoWriter, open_video
from fgsn_ros.segmentation.labels import LabelSet, read_label_set, write_label_set
from fgsn_ros.training.scenes import read_scenes
from fuzzing import colmap, formats, mutators, networks, pairs, recordings
from fuzzing.oracle import Files, Reader, made

K = 5


def each_file(mutate: formats.Mutator) -> Callable[[Random, Files, list[Files]], Files]:
    """Damages one file of an input."""

    def mutated(rng: Random, files: Files, seeds: list[Files]) -> Files:
        name = rng.choice(list(files))
        other = rng.choice(list(rng.choice(seeds).values()))
        return files | {name: mutate(rng, files[name], other)}

    return mutated


# ---- recordings


def play(path: Path, settings: RecordingSettings) -> None:
    """Read all of a recording, as `map` and `localize` do."""
    recording: Recording = open_recording(path, settings)
    for mount in recording.cameras.values():
        grid = np.mgrid[0:16:4, 0:12:4].reshape(2, -1).T.astype(np.float64)
        rays, valid = mount.camera.unproject(grid)
        mount.camera.project(rays[valid])
    for trajectory in (recording.odometry, recording.ground_truth):
        if trajectory is not None:
            trajectory.at(trajectory.stamps[0])
    sensors_of(recording)
    for frame in recording.frames():
        assert frame.image.dtype == np.uint8


def play_bag(folder: Path) -> None:
    """Read a bag of one or two cameras."""
    found = {path.name: path for path in folder.iterdir()}
    if "two.mcap" in found:
        play(found["two.mcap"], RecordingSettings(image_topics=("/a/image", "/b/image")))
    else:
        (path,) = found.values()
        play(path, RecordingSettings())


def play_folder(folder: Path) -> None:
    """Read a KITTI or image folder, odometry derived from its poses."""
    play(folder, RecordingSettings(derive_odometry=True))


def read_trajectories(folder: Path) -> None:
    """Read and compare two trajectories, as `evaluate` does."""
    estimate, reference = read_tum(folder / "estimate.tum"), read_tum(folder / "reference.tum")
    evaluation_table(summarize(estimate, reference, None, {}, 0.0))


def read_encoded(folder: Path) -> None:
    """Decode an image as those of folders and of CompressedImages are."""
    decode_image((folder / "image").read_bytes(), str(folder / "image"))


@cache
def encoded_images() -> list[Files]:
    """An image in each format that OpenCV writes."""
    colour = recordings.image(0)
    found = []
    for suffix in (".png", ".jpg", ".bmp", ".webp", ".tif", ".ppm", ".pgm", ".gif", ".ras",
                   ".hdr", ".pfm", ".avif"):  # fmt: skip
        pixels = colour[..., 0] if suffix == ".pgm" else colour
        floats = np.float32(pixels) if suffix in (".hdr", ".pfm") else pixels
        with contextlib.suppress(cv2.error):
            found.append({"image": cv2.imencode(suffix, floats)[1].tobytes()})
    large = np.tile(colour, (8, 8, 1))
    found.append({"image": cv2.imencode(".jp2", large)[1].tobytes()})
    deep = colour.astype(np.uint16) * 256
    found += [{"image": cv2.imencode(s, deep)[1].tobytes()} for s in (".png", ".tif")]
    progressive = cv2.imencode(".jpg", colour, [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])[1]
    return [*found, {"image": progressive.tobytes()}]


@cache
def image_messages() -> list[Files]:
    """Images and calibrations as messages' bytes."""
    names = {
        "sensor_msgs/msg/Image",
        "sensor_msgs/msg/CompressedImage",
        "sensor_msgs/msg/CameraInfo",
    }
    chosen = [m for _, _, m in recordings.messages() if m.__msgtype__ in names][:6]
    return [{m.__msgtype__.rpartition("/")[2]: recordings.cdr(m)} for m in chosen]


def mutated_image_message(rng: Random, files: Files, _: list[Files]) -> Files:
    """A message with other values, or damaged bytes."""
    ((name, content),) = files.items()
    message = TYPESTORE.deserialize_cdr(content, f"sensor_msgs/msg/{name}")
    if name == "CompressedImage" and rng.random() < 0.5:
        other = rng.choice(encoded_images())["image"]
        data = formats.mutated_image(rng, other)
        header, kinds = message.header, ("jpeg", "png", "bayer_rggb8; png compressed ", "h264", "",
                                         "rgb8; jpeg compressed bgr8", "16UC1; compressedDepth",
                                         "mono16; png compressed ")  # fmt: skip
        changed = type(message)(header, rng.choice(kinds), np.frombuffer(data, np.uint8))
        return {name: recordings.cdr(changed)}
    return {name: recordings.damaged_payload(rng, message, content)}


def read_message(folder: Path) -> None:
    """Read a message as from a node's subscription: its type is right, its values may be any."""
    (path,) = folder.iterdir()
    try:
        message: Any = TYPESTORE.deserialize_cdr(path.read_bytes(), f"sensor_msgs/msg/{path.name}")
    except Exception:  # where middleware would drop it
        return
    if path.name == "CameraInfo":
        for rectified in (False, True):
            camera = camera_of(message, rectified, "/camera_info")
            camera.project(np.array([[0.1, 0.2, 1.0], [5.0, 0.0, 1e-9]]))
            camera.unproject(np.array([[0.0, 1.0], [1e5, 3.0]]))
    else:
        image_of(message, "/image")


@cache
def videos() -> list[Files]:
    """A short video."""

    def write(folder: Path) -> None:
        writer = VideoWriter(folder / "video.mp4")
        for number in range(6):
            writer.add(0.1 * number, np.ascontiguousarray(recordings.image(number)))
        writer.close()

    return [made(write)]


def read_video(folder: Path) -> None:
    """Decode a video."""
    for _, image in open_video(folder / "video.mp4").frames():
        assert image.ndim == 3


# ---- maps, poses, labels


@cache
def maps() -> list[Files]:
    """Maps of this version, without and with sessions, and of the first one."""
    rng = np.random.default_rng(0)
    count, keyframes = 40, 3
    directions = rng.normal(size=(count, 3))
    near = rng.uniform(1.0, 20.0, count)
    shares = rng.random((keyframes, K))
    arrays = dict(
        points=rng.uniform(-30.0, 30.0, (count, 3)),
        labels=rng.integers(0, K, count),
        confidence=rng.random(count),
        directions=directions / np.linalg.norm(directions, axis=1, keepdims=True),
        min_range=near,
        max_range=near + 5.0,
        keyframe_poses=poses.exp(rng.normal(size=(keyframes, 6))),
        keyframe_histograms=shares / shares.sum(axis=1, keepdims=True),
    )
    semantic_map = SemanticMap.from_points(**arrays, fingerprint="ab" * 32, tile_size_m=10.0)
    new = made(lambda folder: save_map(folder / "map", semantic_map))
    told = replace(semantic_map, sessions=np.ones(count, SESSIONS))
    added = made(lambda folder: save_map(folder / "map", told))

    def write_first(folder: Path) -> None:
        (folder / "map").mkdir()
        kinds = {"points": "f4", "labels": "u2", "confidence": "f4", "directions": "f4"}
        for name, array in arrays.items():
            np.save(folder / f"map/{name}.npy", array.astype(kinds.get(name, "f4")))
        meta = f'{{"format": "fgsn_ros semantic map", "version": 1, "label_count": {K}, '
        meta += '"fingerprint": "ab", "tile_size_m": 10.0, "point_count": 40, "keyframe_count": 3}'
        (folder / "map/meta.json").write_text(meta)

    return [new, added, made(write_first)]


def mutated_map(rng: Random, files: Files, seeds: list[Files]) -> Files:
    """A map with a damaged file, or without it."""
    name = rng.choice(list(files))
    if rng.random() < 0.03:
        return {other: content for other, content in files.items() if other != name}
    mutate = mutators.mutated_json if name.endswith(".json") else formats.mutated_npy
    return files | {name: mutate(rng, files[name], rng.choice(list(files.values())))}


def read_map(folder: Path) -> None:
    """Read all of a map."""
    semantic_map = load_map(folder / "map")
    semantic_map.points_near(np.array([1.0, 2.0, 0.0]), 20.0)
    semantic_map.some_keyframe_poses(2)
    semantic_map.keyframes_within(np.array([-5.0, -5.0]), np.array([5.0, 5.0]))
    semantic_map.all_points()
    list(semantic_map.parts_with_sessions())
    told_sessions(folder / "map")


@cache
def saved_poses() -> list[Files]:
    """Saved poses, without and with the odometry of then."""
    pose = InitialPose.around(poses.from_planar(1.0, 2.0, 0.3), 0.5, 0.1, 10.0)
    found = (SavedPose(pose), SavedPose(pose, poses.from_planar(3.0, 1.0, 0.1), 50.0, 1.0, 0.5))
    return [made(lambda folder, s=s: save_pose(folder / "pose.json", s, "map 1")) for s in found]


def read_saved_pose(folder: Path) -> None:
    """Read a saved pose and carry it on."""
    saved = load_pose(folder / "pose.json", "map 1")
    assert saved is not None
    for stamp in (5.0, 20.0):
        saved.carried_on(stamp, poses.from_planar(4.0, 1.0, 0.1), 60.0, MotionSettings(), 100.0)


@cache
def label_sets() -> list[Files]:
    """The labels of classes and of clusters."""
    names = tuple(f"class {index}" for index in range(K))
    sets = (LabelSet("semantic", K, 4, names, "ab"), LabelSet("fgsn", K, 4, None, "ab"))
    return [made(lambda folder, s=s: write_label_set(folder, s)) for s in sets]


@cache
def label_folders() -> list[Files]:
    """Label images and class images: of 8 bits, of 16, with a palette's kind of header."""
    rng = np.random.default_rng(0)
    found = []
    for kind in (np.uint8, np.uint16):
        ids = rng.integers(0, K, (12, 16)).astype(kind)
        classes = recordings.png(ids.astype(np.uint8))
        found.append({"labels/a.png": recordings.png(ids), "classes/a.png": classes})
    return found


def compare_labels(folder: Path) -> None:
    """Compare label images with class images, as `evaluate segmentation` does."""
    labels = open_label_folder(folder / "labels")
    count_pairs(pair_images(labels.root, folder / "classes"))
    cache = ImageCache(100, 8)
    cache.classes(folder / "classes/a.png")
    cache.colour(folder / "labels/a.png")


# ---- settings

_COMMANDS = ("localize", "map", "train", "simulate drive", "segment", "correspondences")


@cache
def settings_files() -> list[Files]:
    """Settings of commands."""
    contents = (
        {"recording": {"first": 1, "image_topics": ["/a"], "odometry_noise": {"scale_error": 0.1}},
         "start": {"pose": [1.0, 2.0, 0.0, 0.1], "std_m": 2.0}, "overwrite": True},
        {"recording": {"poses": "a.tum", "derive_odometry": True, "odometry_poses": "b.tum"},
         "output": "out", "checkpoint": "c.safetensors"},
        {"data": "a", "label_count": 20, "iterations": 3, "objective": "semantic"},
        {"output": "a", "storage": "mcap", "classes": True, "overwrite": False},
    )  # fmt: skip
    return [{"settings.yaml": yaml.safe_dump(content).encode()} for content in contents]


def read_settings(folder: Path) -> None:
    """Read the settings of each command that may be meant."""
    values, errors = load_yaml(folder / "settings.yaml"), []
    for default in command_defaults():
        try:
            override(default, values, "settings.yaml")
        except SettingsError as error:
            errors.append(error)
    if len(errors) == len(_COMMANDS):
        raise errors[0]


@cache
def command_defaults() -> list[Any]:
    """Settings of commands, as they are without a file."""
    return [cli._default(cli._settings(name), None) for name in _COMMANDS]


@cache
def command_lines() -> list[Files]:
    """Words after `fgsn`, of commands that write nothing."""
    lines = (
        ["evaluate", "estimate.tum", "reference.tum", "--skip-s", "0.5"],
        ["evaluate", "segmentation", "labels", "classes", "--ignore", "3", "--label-suffix", "_x"],
        ["localize", "bag", "--config", "a.yaml", "--recording.first", "1", "--start.std-m", "2"],
    )
    return [{"line.json": json.dumps(line).encode()} for line in lines]


def run_command(folder: Path) -> None:
    """Run a command, as a shell would: without NUL in its words."""
    try:
        words = json.loads((folder / "line.json").read_bytes())
    except (ValueError, RecursionError):
        return
    if isinstance(words, list) and all(
        isinstance(word, str) and "\0" not in word for word in words
    ):
        with contextlib.suppress(SystemExit):  # of an unknown option
            assert cli.main(words) in (0, 2)


# ---- scenes


@cache
def scene_folders() -> list[Files]:
    """Images with classes, listed as CamVid's and as a pair of folders."""
    listed = {f"{split}.txt": f"/x/{split}/a.png /x/b.png\n".encode() for split in ("train", "val")}
    camvid = {f"{split}{kind}/a.png": b"-" for split in ("train", "val") for kind in ("", "annot")}
    pair = {f"{kind}/a.png": b"-" for kind in ("images", "labels")}
    names = {"classes.txt": b"road\nsky\n", "train.txt": b"a\n", "val.txt": b"a.png\n"}
    return [listed | camvid, pair | names]


def each_text(mutate: formats.Mutator) -> Callable[[Random, Files, list[Files]], Files]:
    """Damages one text of an input."""

    def mutated(rng: Random, files: Files, seeds: list[Files]) -> Files:
        name = rng.choice([name for name in files if name.endswith(".txt")])
        return files | {name: mutate(rng, files[name], b"")}

    return mutated


def read_some_scenes(folder: Path) -> None:
    """Find the images of a training set and their classes."""
    read_scenes(folder)


READERS = {
    reader.name: reader
    for reader in (
        Reader("mcap", recordings.mcap_files, each_file(formats.mutated_mcap), play_bag, 2),
        Reader("mcap_fields", recordings.mcap_files, recordings.mutated_fields, play_bag, 2),
        Reader(
            "mcap_definitions", recordings.mcap_files, recordings.mutated_definitions, play_bag, 1
        ),
        Reader(
            "db3",
            lambda: recordings.written_bags("sqlite3"),
            recordings.mutated_database,
            play_bag,
            1,
        ),
        Reader("ros1", recordings.ros1_files, recordings.mutated_ros1, play_bag, 1),
        Reader("image_folder", recordings.image_folders, recordings.mutated_folder, play_folder, 2),
        Reader("kitti", recordings.kitti_folders, recordings.mutated_folder, play_folder, 2),
        Reader("colmap", colmap.colmap_models, colmap.mutated_model, colmap.read_model, 3),
        Reader("message", image_messages, mutated_image_message, read_message, 5),
        Reader("image", encoded_images, each_file(formats.mutated_image), read_encoded, 5),
        Reader("video", videos, each_file(mutators.mutated_bytes), read_video, 1),
        Reader(
            "trajectory",
            lambda: [
                {"estimate.tum": recordings.tum_text(8), "reference.tum": recordings.tum_text(8)}
            ],
            each_file(mutators.mutated_text),
            read_trajectories,
            2,
        ),
        Reader("map", maps, mutated_map, read_map, 3),
        Reader(
            "saved_pose",
            saved_poses,
            each_file(mutators.mutated_json),
            read_saved_pose,
            4,
        ),
        Reader(
            "label_set",
            label_sets,
            each_file(mutators.mutated_json),
            lambda folder: read_label_set(folder / "labels.json"),
            3,
        ),
        Reader("label_images", label_folders, each_file(formats.mutated_image), compare_labels, 3),
        Reader(
            "safetensors",
            networks.checkpoint_files,
            each_file(formats.mutated_safetensors),
            networks.read_checkpoint,
            4,
        ),
        Reader(
            "onnx",
            networks.onnx_files,
            each_file(formats.mutated_onnx),
            networks.read_checkpoint,
            3,
        ),
        Reader(
            "weights", networks.weight_files, networks.mutated_weights, networks.read_weights, 3
        ),
        Reader(
            "training_state",
            networks.training_states,
            networks.mutated_weights,
            networks.resume_training,
            1,
        ),
        Reader(
            "start_weights",
            networks.weight_files,
            networks.mutated_weights,
            networks.start_from_weights,
            0.2,
            False,
        ),
        Reader(
            "correspondence",
            pairs.correspondence_files,
            pairs.mutated_correspondence,
            pairs.read_pair,
            3,
        ),
        Reader("sets", pairs.set_files, pairs.mutated_sets, pairs.read_sets, 2),
        Reader(
            "lists",
            lambda: [{"classes.txt": b"road\nsky\n", "corr_train.txt": b"a.mat\nb.mat\n"}],
            each_file(mutators.mutated_text),
            pairs.read_lists,
            1,
        ),
        Reader("scenes", scene_folders, each_text(mutators.mutated_text), read_some_scenes, 1),
        Reader("command_line", command_lines, each_file(mutators.mutated_json), run_command, 0.3),
        Reader("settings", settings_files, each_file(mutators.mutated_yaml), read_settings, 2),
    )
}
"""By name."""
