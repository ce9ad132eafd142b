"""COLMAP models: both forms, what is left out, what is refused."""

import dataclasses
import logging
import struct

import numpy as np
import pytest
from made_colmap import binary_files, corridor_model, text_files, write

from fgsn_ros.errors import RecordingError
from fgsn_ros.geometry import poses
from fgsn_ros.recordings.colmap_model import read_colmap_model, reprojection_errors


@pytest.fixture(scope="module")
def made():
    return corridor_model()[0]


@pytest.fixture(params=[text_files, binary_files], ids=["text", "binary"])
def files_of(request):
    return request.param


def changed(model, index, **values):
    """The model with another image in the place of that index."""
    images = list(model.images)
    images[index] = images[index] | values
    return dataclasses.replace(model, images=images)


def test_both_forms_are_read_the_same_and_as_they_were_made(made, files_of, tmp_path):
    T_camera_rig = poses.from_xyz_rpy([0.1, 0.2, 0.3], [0.1, 0.2, 0.3])
    cameras = made.cameras | {8: made.cameras[7]}
    rigged = dataclasses.replace(made, cameras=cameras, rigs=[[(7, None), (8, T_camera_rig)]])
    model = read_colmap_model(write(tmp_path / "m", files_of(rigged)))
    assert model.names == tuple(image["name"] for image in made.images)
    T = np.stack([image["T_camera_world"] for image in made.images])
    np.testing.assert_allclose(poses.invert(model.T_world_camera), T, atol=1e-12)
    np.testing.assert_allclose(model.points, np.stack(list(made.points.values())), atol=1e-12)
    assert set(model.cameras) == {7}  # no image is of camera 8
    np.testing.assert_allclose(model.T_rig_camera[8], poses.invert(T_camera_rig), atol=1e-12)
    assert reprojection_errors(model).max() < 1e-9
    for i, image in enumerate(made.images):
        own = model.sightings[model.sightings.image == i]
        shown = image["ids"] >= 0
        np.testing.assert_allclose(own.pixels, image["pixels"][shown] - 0.5)
        ids = np.array(list(made.points))
        np.testing.assert_array_equal(ids[own.point], image["ids"][shown])


def test_binary_counts_where_both_forms_are_there(made, tmp_path):
    broken = {name: b"nothing" for name in text_files(made)}
    assert len(read_colmap_model(write(tmp_path, binary_files(made) | broken)).names) == 12


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"T_camera_world": np.full((4, 4), np.nan)}, "with a pose that is not finite"),
        ({"name": "000.png"}, "with a name or number that was there before"),
        ({"name": "../secret.png"}, "with a name outside the folder of images"),
        ({"name": "/etc/secret.png"}, "with a name outside the folder of images"),
        ({"camera": 99}, "of a camera that is not listed"),
        ({"pixels": np.full((200, 2), np.inf)}, "with keypoints that are not finite"),
    ],
)
def test_an_image_that_cannot_be_used_is_left_out_and_said(
    made, files_of, tmp_path, caplog, values, reason
):
    if "pixels" in values:
        values = {"pixels": np.full_like(made.images[3]["pixels"], np.inf)}
    with caplog.at_level(logging.WARNING):
        model = read_colmap_model(write(tmp_path, files_of(changed(made, 3, **values))))
    assert len(model.names) == 11
    assert "1 of 12 images" in caplog.text
    assert reason in caplog.text
    assert reprojection_errors(model).max() < 1e-9


def test_a_quaternion_that_is_not_of_length_1_is_left_out(made, tmp_path, caplog):
    files = text_files(made)
    lines = files["images.txt"].decode().splitlines()
    words = lines[1].split()
    lines[1] = " ".join([words[0], "2.0", *words[2:]])
    files["images.txt"] = "\n".join(lines).encode()
    assert len(read_colmap_model(write(tmp_path, files)).names) == 11
    assert "whose length is not 1" in caplog.text


def test_more_bad_images_than_a_tenth_end_it(made, files_of, tmp_path):
    bad = made
    for index in range(3):
        bad = changed(bad, index, camera=99)
    with pytest.raises(RecordingError, match="3 of 12 images: 3 of a camera that is not listed"):
        read_colmap_model(write(tmp_path, files_of(bad)))


def test_a_point_that_contradicts_the_images_is_left_out(made, files_of, tmp_path, caplog):
    ids = made.images[2]["ids"].copy()
    lost = ids[5]
    ids[5] = -1  # its track says that this image shows it

    class Lying(type(made)):
        def track(self, point):
            return made.track(point)

    lying = Lying(made.cameras, changed(made, 2, ids=ids).images, made.points)
    with caplog.at_level(logging.WARNING):
        model = read_colmap_model(write(tmp_path, files_of(lying)))
    assert len(model.points) == len(made.points) - 1
    assert f"a track that the images do not show (first: number {lost})" in caplog.text


def test_tracks_of_images_that_are_not_listed_end_it(made, files_of, tmp_path):
    class Lying(type(made)):
        def track(self, point):
            return [(i + 1000 * (i % 2), k) for i, k in made.track(point)]

    lying = Lying(made.cameras, made.images, made.points)
    with pytest.raises(RecordingError, match="of an image that is not listed"):
        read_colmap_model(write(tmp_path, files_of(lying)))


def test_points_that_are_not_finite_are_left_out(made, files_of, tmp_path, caplog):
    points = made.points | {150: np.array([np.nan, 0.0, 0.0])}
    model = read_colmap_model(write(tmp_path, files_of(dataclasses.replace(made, points=points))))
    assert len(model.points) == len(points) - 1
    assert "1 not finite" in caplog.text


def test_a_model_without_points_is_refused(made, files_of, tmp_path):
    empty = [image | {"ids": np.full_like(image["ids"], -1)} for image in made.images]
    bare = dataclasses.replace(made, points={}, images=empty)
    with pytest.raises(RecordingError, match="holds no points; triangulate"):
        read_colmap_model(write(tmp_path, files_of(bare)))


def test_files_of_several_models_are_refused(made, files_of, tmp_path):
    other = dataclasses.replace(
        made, cameras={7: ["PINHOLE", 320, 200, 400.0, 400.0, 160.0, 100.0]}
    )
    with pytest.raises(RecordingError, match="are not of one model"):
        read_colmap_model(write(tmp_path, files_of(other)))


def test_a_camera_without_an_equivalent_is_refused_in_one_line(made, files_of, tmp_path):
    fov = ["FOV", 320, 200, 190.0, 190.0, 158.5, 97.5, 0.9]
    with pytest.raises(RecordingError, match="camera 7: the camera model 'FOV' is none of"):
        read_colmap_model(
            write(tmp_path / "a", files_of(dataclasses.replace(made, cameras={7: fov})))
        )
    unused = dataclasses.replace(made, cameras={3: fov, **made.cameras})
    assert len(read_colmap_model(write(tmp_path / "b", files_of(unused))).names) == 12


def test_a_folder_of_models_is_no_model(made, tmp_path):
    write(tmp_path / "sparse" / "0", binary_files(made))
    with pytest.raises(RecordingError, match="is it .*sparse/0"):
        read_colmap_model(tmp_path)


@pytest.mark.parametrize("name", ["cameras.bin", "images.bin", "points3D.bin"])
@pytest.mark.parametrize("count", [2**40, 2**64 - 1])
def test_a_count_beyond_the_file_is_refused_before_memory_is_taken(made, tmp_path, name, count):
    files = binary_files(made)
    files[name] = struct.pack("<Q", count) + files[name][8:]
    with pytest.raises(RecordingError, match=f"{name} is no file of a COLMAP model: it is cut off"):
        read_colmap_model(write(tmp_path, files))


@pytest.mark.parametrize("name", ["cameras.bin", "images.bin", "points3D.bin"])
@pytest.mark.parametrize("share", [0.0, 0.3, 0.9, 0.999])
def test_a_binary_file_that_is_cut_off_is_refused(made, tmp_path, name, share):
    files = binary_files(made)
    files[name] = files[name][: int(share * len(files[name]))]
    with pytest.raises(RecordingError, match="cut off"):
        read_colmap_model(write(tmp_path, files))
