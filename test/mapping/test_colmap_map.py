"""Maps of COLMAP models: points, labels by the model's tracks, frames, rigs, local features."""

import dataclasses
import json

import cv2
import numpy as np
import pytest
from made_colmap import (
    binary_files,
    corridor_model,
    inverse,
    some_similarity,
    surface_of,
    text_files,
    write,
    write_images,
)
from raw_drive import RawDrive

from fgsn_ros.errors import MapError, RecordingError
from fgsn_ros.geometry import poses
from fgsn_ros.geometry.cameras import T_BASE_OPTICAL
from fgsn_ros.geometry.similarity import read_similarity, similarity_text
from fgsn_ros.mapping.builder import MapSettings
from fgsn_ros.mapping.colmap_map import TRANSFORM_FILE, open_colmap, write_colmap_map
from fgsn_ros.mapping.descriptors import FeatureSettings
from fgsn_ros.mapping.feature_builder import LocalFeatureSettings
from fgsn_ros.mapping.local_features import load_local_features
from fgsn_ros.mapping.sfm.keyframes import KeyFrameSettings
from fgsn_ros.mapping.sfm.recording_poses import PoseSettings, pose_recordings
from fgsn_ros.mapping.sfm.report import write_poses

PLAIN = MapSettings(local_features=LocalFeatureSettings(kind="none"))
TO_MODEL = some_similarity()


@pytest.fixture(scope="module")
def drive(tmp_path_factory):
    """A model in the corridor's frame, the drive, and the folder of its images."""
    model, recording = corridor_model()
    folder = tmp_path_factory.mktemp("images")
    return model, recording, write_images(folder, model, recording)


def similarity_file(folder, similarity):
    path = folder / "similarity.json"
    path.write_text(similarity_text(similarity))
    return path


def camera_yaml(translation, q_xyzw):
    """The corridor's camera with a mounting, as YAML, which JSON is."""
    mounting = {"translation": translation.tolist(), "q_xyzw": q_xyzw.tolist()}
    matrix = [190.0, 0.0, 158.0, 0.0, 190.0, 97.0, 0.0, 0.0, 1.0]
    size = {"image_width": 320, "image_height": 200}
    return json.dumps({**size, "camera_matrix": {"data": matrix}, "T_base_camera": mounting})


def opened(tmp_path, model, images, files_of=binary_files):
    """A model that lies otherwise, placed in the corridor's frame by a similarity."""
    folder = write(tmp_path / "model", files_of(model.moved(TO_MODEL)))
    return open_colmap(folder, images, similarity_file(tmp_path, inverse(TO_MODEL)), None)


def test_points_lie_where_they_are_with_the_labels_of_their_surfaces(
    drive, tmp_path, tint_segmenter
):
    model, recording, images = drive
    made = opened(tmp_path, model, images)
    built = write_colmap_map(tmp_path / "map", made, tint_segmenter(), PLAIN)
    expected = np.stack(list(model.points.values()))
    found = built.all_points()
    assert len(found) == len(expected)
    distance = np.linalg.norm(found.points[:, None] - expected[None], axis=2)
    assert distance.min(axis=1).max() < 0.001
    assert len(np.unique(distance.argmin(axis=1))) == len(expected)
    right = found.labels == surface_of(found.points)
    assert right.mean() > 0.9  # cells at the edge of two surfaces are of either
    T_map_camera = recording.ground_truth.poses @ recording.cameras["camera"].T_base_camera
    ranges = np.linalg.norm(found.points[:, None] - T_map_camera[None, :, :3, 3], axis=2)
    assert (found.min_range > 0.95 * ranges.min(axis=1)).all()
    assert (found.max_range < 1.05 * ranges.max(axis=1)).all()


def test_base_link_is_the_camera_with_the_axes_of_a_body(drive, tmp_path, tint_segmenter):
    model, recording, images = drive
    built = write_colmap_map(
        tmp_path / "map", opened(tmp_path, model, images), tint_segmenter(), PLAIN
    )
    T_base_camera = recording.cameras["camera"].T_base_camera
    expected = recording.ground_truth.poses @ T_base_camera @ poses.invert(T_BASE_OPTICAL)
    apart = np.linalg.norm(
        built.keyframe_poses[:, None, :3, 3] - expected[None, :, :3, 3], axis=2
    ).min(axis=1)
    assert len(built.keyframes) == 12
    assert apart.max() < 1e-6
    np.testing.assert_allclose(built.keyframe_poses[:, :3, :3], expected[:, :3, :3], atol=0.1)


def test_a_mounting_beside_the_images_makes_poses_of_base_link(drive, tmp_path):
    model, recording, images = drive
    folder = tmp_path / "images"
    folder.mkdir()
    for path in images.iterdir():
        (folder / path.name).symlink_to(path)
    t, q = poses.to_quaternion(recording.cameras["camera"].T_base_camera)
    text = camera_yaml(t, q)
    (folder / "camera.yaml").write_text(text)
    made = opened(tmp_path, model, folder)
    truth = recording.ground_truth.poses
    np.testing.assert_allclose(made.images.ground_truth.poses, truth, atol=1e-9)


def test_text_and_binary_make_the_same_map(drive, tmp_path, tint_segmenter):
    model, _, images = drive
    maps = []
    for name, files_of in (("a", text_files), ("b", binary_files)):
        (tmp_path / name).mkdir()
        made = opened(tmp_path / name, model, images, files_of)
        maps.append(write_colmap_map(tmp_path / f"map_{name}", made, tint_segmenter(), PLAIN))
    assert maps[0].identity == maps[1].identity


def test_only_images_of_a_points_track_vote_for_it(drive, tmp_path, tint_segmenter):
    model, _, images = drive

    class Liar(tint_segmenter):
        """Calls all that the first image shows `right`."""

        first = True

        def segment(self, image):
            seen = super().segment(image)
            if self.first:
                seen.labels[:] = 2
            self.first = False
            return seen

    made = opened(tmp_path, model, images)
    honest = write_colmap_map(tmp_path / "a", made, tint_segmenter(), PLAIN).all_points()
    lied = write_colmap_map(tmp_path / "b", made, Liar(), PLAIN).all_points()
    expected = np.stack(list(model.points.values()))
    distance = np.linalg.norm(lied.points[:, None] - expected[None], axis=2)
    ids = np.array(list(model.points))[distance.argmin(axis=1)]
    in_first = np.isin(ids, model.images[0]["ids"])
    np.testing.assert_array_equal(lied.confidence[~in_first], honest.confidence[~in_first])
    off = in_first & (honest.labels != 2)
    assert off.sum() > 100
    turned = (lied.confidence < honest.confidence) | (lied.labels == 2)
    assert turned[off].mean() > 0.9  # but where its own vote was against the others before


def test_the_transform_is_kept_with_the_map(drive, tmp_path, tint_segmenter):
    model, _, images = drive
    made = opened(tmp_path, model, images)
    write_colmap_map(tmp_path / "map", made, tint_segmenter(), PLAIN)
    kept = read_similarity(tmp_path / "map" / TRANSFORM_FILE)
    expected = inverse(TO_MODEL)
    assert kept.scale == pytest.approx(expected.scale)
    np.testing.assert_allclose(kept.t, expected.t)
    write_colmap_map(tmp_path / "map", made, tint_segmenter(), PLAIN, overwrite=True)


def test_cameras_of_a_rig_follow_its_first_in_metres(drive, tmp_path):
    model, recording, images = drive
    T_first_second = poses.from_xyz_rpy([0.4, 0.0, 0.1], [0.0, 0.3, 0.0])
    T = poses.invert(T_first_second)
    T[:3, 3] *= TO_MODEL.scale  # a model's rig is in its own units
    second = [image | {"camera": 8} for image in model.images[6:]]
    rigged = dataclasses.replace(
        model,
        cameras=model.cameras | {8: model.cameras[7]},
        images=model.images[:6] + second,
        rigs=[[(7, None), (8, T)]],
    )
    made = opened(tmp_path, rigged, images)
    np.testing.assert_allclose(
        made.images.cameras["8"].T_base_camera, T_BASE_OPTICAL @ T_first_second, atol=1e-9
    )
    T_map_camera = recording.ground_truth.poses[6:] @ recording.cameras["camera"].T_base_camera
    expected = T_map_camera @ poses.invert(T_BASE_OPTICAL @ T_first_second)
    np.testing.assert_allclose(made.images.ground_truth.poses[6:], expected, atol=1e-9)


def test_photos_of_a_camera_each_in_any_order_have_local_features(tmp_path, tint_segmenter):
    model, recording = corridor_model(frames=20, step_m=1.2, camera_each=True)
    images = write_images(tmp_path / "images", model, recording)
    shuffled = np.random.default_rng(0).permutation(20)
    for i, number in enumerate(shuffled):  # names say nothing about the way
        (images / f"{i:03d}.png").rename(images / f"photo{number:03d}.png")
        model.images[i]["name"] = f"photo{number:03d}.png"
    made = opened(tmp_path, model, images)
    x = made.images.ground_truth.poses[:, 0, 3]
    by_name = x[np.argsort([image.path.name for image in made.images.images])]
    assert np.abs(np.diff(x)).mean() < 0.5 * np.abs(np.diff(by_name)).mean()
    built = write_colmap_map(tmp_path / "map", made, tint_segmenter())
    local = load_local_features(tmp_path / "map", built)
    found = local.near(np.array([15.0, 0.0, 0.0]), 40.0)
    assert len(found) > 100
    walls = found.points.points
    off = np.abs(np.stack([walls[:, 2], walls[:, 1] - 5.0, walls[:, 1] + 4.0, walls[:, 0] - 30.0]))
    assert np.median(off.min(axis=0)) < 0.05  # a texel


def test_a_model_without_scale_has_local_features_too(drive, tmp_path, tint_segmenter, caplog):
    model, _, images = drive
    small = dataclasses.replace(some_similarity(), scale=0.02)
    folder = write(tmp_path / "model", binary_files(model.moved(small)))
    made = open_colmap(folder, images, None, None)
    assert "own scale" in caplog.text
    built = write_colmap_map(tmp_path / "map", made, tint_segmenter())
    assert len(load_local_features(tmp_path / "map", built).tiles.points) > 100


def test_images_that_are_not_there_are_left_out_or_end_it(drive, tmp_path, caplog):
    model, recording, _ = drive
    images = write_images(tmp_path / "images", model, recording)
    (images / "004.png").unlink()
    made = opened(tmp_path, model, images)
    assert made.pose_count == 11
    assert "1 of 12 images: 1 not there (first: 004.png)" in caplog.text
    for i in (5, 6):
        (images / f"{i:03d}.png").unlink()
    with pytest.raises(RecordingError, match="3 of 12 images: 3 not there"):
        opened(tmp_path, model, images)
    with pytest.raises(RecordingError, match="holds none of the images"):
        opened(tmp_path, model, tmp_path)


def test_labels_that_move_are_left_out_as_of_any_map(drive, tmp_path, tint_segmenter):
    model, _, images = drive
    made = opened(tmp_path, model, images)
    stationary = np.array([1.0, 0.0, 1.0, 1.0], np.float32)
    built = write_colmap_map(tmp_path / "map", made, tint_segmenter(stationary), PLAIN)
    assert set(np.unique(built.all_points().labels)) == {0, 2, 3}
    with pytest.raises(MapError, match="passed the label tests"):
        write_colmap_map(tmp_path / "none", made, tint_segmenter(np.zeros(4, np.float32)), PLAIN)
    assert not (tmp_path / "none").exists()


def test_the_model_of_a_raw_drive_makes_a_map_in_the_frame_of_its_poses(
    tmp_path, tint_segmenter, caplog
):
    drive = RawDrive(frames=12)
    features = FeatureSettings(features=500)
    settings = PoseSettings(
        neighbours=(1, 2, 3), keyframes=KeyFrameSettings(spacing_m=0.5, features=features)
    )
    posed = pose_recordings([drive], settings)
    write_poses(tmp_path, posed, picture=False)
    images = tmp_path / "images"
    (images / "first" / "camera").mkdir(parents=True)
    for frame in drive.frames():
        path = images / "first" / "camera" / f"{frame.stamp:.6f}.png"
        cv2.imwrite(str(path), frame.image[..., ::-1])
    mounting = poses.to_quaternion(drive.cameras["camera"].T_base_camera)
    (images / "camera.yaml").write_text(camera_yaml(*mounting))
    made = open_colmap(tmp_path / "colmap", images, None, None)
    assert "its images' mean up is 0 deg off its z" in caplog.text
    stamps = np.array([float(image.path.stem) for image in made.images.images])
    expected = np.stack([posed.trajectories[0].at(stamp) for stamp in stamps])
    np.testing.assert_allclose(made.images.ground_truth.poses, expected, atol=1e-4)
    points = write_colmap_map(tmp_path / "map", made, tint_segmenter(), PLAIN).all_points()
    T_truth_map = drive.truth.poses[0] @ poses.invert(posed.trajectories[0].poses[0])
    placed = poses.transform(T_truth_map, points.points)
    planes = np.stack([placed[:, 2], placed[:, 1] - 5, placed[:, 1] + 4, placed[:, 0] - 30])
    assert np.median(np.abs(planes).min(axis=0)) < 0.1
    assert (points.labels == surface_of(placed)).mean() > 0.9
