"""`fgsn correspondences` on one recording and on several, and what it asks for."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from fgsn_ros.cli import main
from fgsn_ros.correspondences.files import CorrespondenceFolder, read_correspondence
from fgsn_ros.geometry import poses
from fgsn_ros.geometry.cameras import T_BASE_OPTICAL, Camera, CameraMount
from fgsn_ros.geometry.trajectory import Trajectory, write_tum
from fgsn_ros.recordings.recording import Frame
from fgsn_ros.recordings.rosbag_writer import RecordingWriter

WALL_M = 6.0
TEXEL_M = 0.02
STEP_M = 0.35
FRAMES = 14
OPTIONS = ("--pairs.min-points", 10, "--pairs.structure.tracks.min-corner", 1e-4)
FEW_PIXELS = Camera(160, 120, 100.0, 100.0, 79.5, 59.5)
MANY_PIXELS = Camera(208, 136, 130.0, 130.0, 100.0, 70.0)


def wall(seed: int) -> np.ndarray:
    """Looks of the wall, for a season."""
    noise = np.random.default_rng(seed).random((256, 1024), np.float32)
    return (
        255.0 * cv2.normalize(cv2.GaussianBlur(noise, (0, 0), 4.0), None, 0, 1, cv2.NORM_MINMAX)
    ).astype(np.uint8)


def seen(texture: np.ndarray, camera: Camera, y_m: float) -> np.ndarray:
    """Image of the wall, WALL_M ahead of a robot that has driven y_m to its left."""
    v, u = np.mgrid[: camera.height, : camera.width].astype(np.float32)
    left_m = y_m - (u - camera.cx) / camera.fx * WALL_M
    up_m = -(v - camera.cy) / camera.fy * WALL_M
    column, row = 500.0 - left_m / TEXEL_M, 128.0 - up_m / (2 * TEXEL_M)
    grey = cv2.remap(texture, column.astype(np.float32), row.astype(np.float32), cv2.INTER_LINEAR)
    return np.repeat(grey[..., None], 3, axis=2)


def drive(
    path: Path, seed: int, camera: Camera, name: str = "camera", truth: bool = True
) -> Trajectory:
    """Write a bag of a drive along the wall; the poses, which it may lack."""
    texture = wall(seed)
    stamps = 50.0 + seed + 0.1 * np.arange(FRAMES)
    y = STEP_M * np.arange(FRAMES)
    T = poses.from_xyz_rpy(np.c_[0 * y, y, 0 * y], np.zeros((FRAMES, 3)))
    with RecordingWriter(path) as writer:
        writer.add_camera(name, CameraMount(camera, T_BASE_OPTICAL, name))
        if name != "camera":
            writer.add_camera("other", CameraMount(camera, T_BASE_OPTICAL, "other"))
        for stamp, T_map_base in zip(stamps, T, strict=True):
            if truth:
                writer.write_ground_truth(stamp, T_map_base)
            image = seen(texture, camera, T_map_base[1, 3])
            writer.write_image(Frame(stamp, name, image))
            if name != "camera":
                writer.write_image(Frame(stamp, "other", np.zeros_like(image)))
    return Trajectory(stamps, T)


@pytest.fixture(scope="module")
def bags(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Summer with poses; winter by another robot with two cameras, its poses beside it."""
    folder = tmp_path_factory.mktemp("bags")
    drive(folder / "summer", 1, FEW_PIXELS)
    trajectory = drive(folder / "winter", 2, MANY_PIXELS, "left", truth=False)
    write_tum(folder / "winter.tum", trajectory)
    return folder


def run(*arguments: object) -> int:
    return main(["correspondences", *map(str, arguments)])


def refusal(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    assert run(*arguments) == 2
    (line,) = [x for x in capsys.readouterr().err.splitlines() if x.startswith("fgsn: error")]
    return line


def errors_px(root: Path, cameras: tuple[Camera, Camera]) -> np.ndarray:
    """Of the points of pairs between two drives along the wall (N,)."""
    folder = CorrespondenceFolder(root)
    errors = [np.zeros(0)]
    for path in folder.train_files() + folder.validation_files():
        match = read_correspondence(path)
        if match.target_image.startswith("run0"):
            continue
        i, j = (int(name[-10:-4]) for name in (match.reference_image, match.target_image))
        rays = [
            c.unproject(p)[0]
            for c, p in zip(cameras, (match.reference_points, match.target_points), strict=True)
        ]
        at = [WALL_M * r[:, :2] - (STEP_M * k, 0.0) for r, k in zip(rays, (i, j), strict=True)]
        errors.append(np.linalg.norm(at[0] - at[1], axis=1) * cameras[1].fx / WALL_M)
    return np.concatenate(errors)


def test_two_bags_of_different_robots_make_one_folder(
    bags: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recordings = (bags / "summer", bags / "winter")
    given = (
        "--poses",
        "own",
        "--poses",
        bags / "winter.tum",
        "--recording.image-topics",
        "/left/image",
    )
    assert run(*recordings, *given, *OPTIONS, "--output", tmp_path / "pairs") == 0
    said = capsys.readouterr().out
    assert "pairs of images of summer and summer" in said
    assert "pairs of images of summer and winter" in said
    errors = errors_px(tmp_path / "pairs", (FEW_PIXELS, MANY_PIXELS))
    assert len(errors) > 500
    assert np.mean(errors < 3.0) > 0.95


def test_one_bag_is_paired_with_itself(bags: Path, tmp_path: Path) -> None:
    assert run(bags / "summer", *OPTIONS, "--output", tmp_path / "pairs") == 0
    folder = CorrespondenceFolder(tmp_path / "pairs")
    match = read_correspondence(folder.train_files()[0])
    assert len(match.reference_image) == len("000000.jpg")
    np.testing.assert_array_equal(match.distance, 0.0)


def test_a_bag_without_poses_says_how_to_give_them(
    bags: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    topic = ("--recording.image-topics", "/left/image/compressed")
    output = ("--output", tmp_path / "pairs")
    assert "--recording.poses" in refusal(capsys, bags / "winter", *topic, *output)
    assert "winter has no poses; give them with --poses" in refusal(
        capsys, bags / "summer", bags / "winter", *topic, *output
    )
    assert not (tmp_path / "pairs").exists()


def test_poses_are_given_for_each_recording(
    bags: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    both, output = (bags / "summer", bags / "winter"), ("--output", tmp_path / "pairs")
    tum = bags / "winter.tum"
    assert "once for each" in refusal(capsys, *both, "--poses", tum, *output)
    assert "--poses for each" in refusal(capsys, *both, "--recording.poses", tum, *output)
    assert "name a recording" in refusal(capsys, *output)


@pytest.mark.parametrize("kind", ["image-topics", "gps-topic", "imu-topic"])
def test_a_topic_of_no_bag_is_refused(
    bags: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    asked = (f"--recording.{kind}", "/right/image", "--output", tmp_path / "pairs")
    assert "no recording has the topic /right/image" in refusal(
        capsys, bags / "summer", bags / "winter", *asked
    )


@pytest.mark.parametrize(
    "words",
    [
        ("correspondences", "summer", "--output", "pairs"),
        ("simulate", "correspondences", "--output", "pairs"),
        ("train", "--data", "pairs", "--output", "run"),
    ],
    ids=lambda words: words[0],
)
def test_without_the_extra_a_command_says_so_before_it_begins(
    bags: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: tuple[str, ...],
) -> None:
    monkeypatch.chdir(bags)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "h5py" else name)
    assert main(list(words)) == 2
    error = capsys.readouterr().err
    assert error.startswith("fgsn: error: training or its data needs h5py")
    assert error.endswith("pip install 'fgsn_ros[train]'\n")
    assert not {"pairs", "run"} & {path.name for path in bags.iterdir()}
