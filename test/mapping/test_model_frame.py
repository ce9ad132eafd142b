"""Where a model lies in the map: GPS, levelling, and what is said of both."""

import numpy as np
import pytest
from made_colmap import inverse, some_similarity

from fgsn_ros.errors import RecordingError
from fgsn_ros.geometry import poses
from fgsn_ros.geometry.geodesy import geodetic
from fgsn_ros.geometry.similarity import similarity_text
from fgsn_ros.mapping.model_frame import (
    PosedViews,
    frame_by_gps,
    frame_by_similarity,
    frame_of_itself,
)

TO_MODEL = some_similarity()
ORIGIN = np.array([48.5, 9.0, 400.0])
NAMES = tuple(f"a b/{i}.jpg" for i in range(20))


def views_of(in_map, up=(0.0, 0.0, 1.0)):
    """Views at positions (N, 3) in a map, all upright in it, of a model that lies otherwise."""
    ups = np.tile(np.array(up) @ TO_MODEL.R.T, (len(in_map), 1))
    return PosedViews(NAMES[: len(in_map)], TO_MODEL.points(in_map), ups)


def fixes_of(in_map):
    """Latitude, longitude, altitude (N, 3) of positions near ORIGIN."""
    return geodetic(in_map, ORIGIN)


def write_gps(path, fixes):
    rows = zip(NAMES, fixes.tolist(), strict=False)
    lines = [f"{name} {lat!r} {lon!r} {alt!r}" for name, (lat, lon, alt) in rows]
    path.write_text("\n".join(["# name lat lon alt", *lines, "unknown.jpg 48.5 9.0 400"]) + "\n")
    return path


def bend():
    """A drive around a corner, from the map's origin."""
    s = np.linspace(0.0, 1.5, 20)
    path = np.stack([40.0 * np.sin(s), 40.0 - 40.0 * np.cos(s), 0.5 * np.sin(5.0 * s)], axis=1)
    return path


def test_gps_gives_east_north_up_in_metres_and_its_residual(tmp_path):
    path = write_gps(tmp_path / "gps.txt", fixes_of(bend()))
    frame = frame_by_gps(views_of(bend()), path)
    np.testing.assert_allclose(frame.similarity.points(TO_MODEL.points(bend())), bend(), atol=1e-5)
    np.testing.assert_allclose(frame.origin, ORIGIN, atol=1e-9)
    assert frame.fit.startswith("GPS: 20 of 20 positions fit")


def test_gps_fixes_that_are_far_off_do_not_bend_the_fit(tmp_path):
    rng = np.random.default_rng(2)
    fixes = fixes_of(bend() + rng.normal(0.0, 0.05, (20, 3)))
    fixes[3, 0] += 0.01
    fixes[11, 2] += 60.0
    frame = frame_by_gps(views_of(bend()), write_gps(tmp_path / "gps.txt", fixes))
    placed = frame.similarity.points(TO_MODEL.points(bend()))
    assert np.linalg.norm(placed - bend(), axis=1).max() < 0.3
    assert "GPS: 18 of 20" in frame.fit or "GPS: 17 of 20" in frame.fit


def test_on_a_straight_line_images_say_the_turn_about_it(tmp_path, caplog):
    line = np.linspace([0.0, 0.0, 0.0], [60.0, 20.0, 2.0], 20)
    frame = frame_by_gps(views_of(line), write_gps(tmp_path / "gps.txt", fixes_of(line)))
    assert "nearly on a line" in caplog.text
    np.testing.assert_allclose(frame.similarity.points(TO_MODEL.points(line)), line, atol=1e-4)
    aside = np.array([[-2.0, 6.0, 0.0]])  # to the left of it, level
    np.testing.assert_allclose(frame.similarity.points(TO_MODEL.points(aside)), aside, atol=1e-3)


def test_gps_that_does_not_fit_is_refused(tmp_path):
    other = np.random.default_rng(3).uniform(-40.0, 40.0, (20, 3))
    path = write_gps(tmp_path / "gps.txt", fixes_of(other))
    with pytest.raises(RecordingError, match="does not fit the model"):
        frame_by_gps(views_of(bend()), path)
    (tmp_path / "few.txt").write_text("a b/0.jpg 48 9 1\na b/1.jpg 48 9 1\nx 48 9 1\n")
    with pytest.raises(RecordingError, match="positions of 2 of the model's 20 images"):
        frame_by_gps(views_of(bend()), tmp_path / "few.txt")
    (tmp_path / "bad.txt").write_text("a b/0.jpg 148 9 1\na b/1.jpg nan 9 1\nb 1 2\n")
    with pytest.raises(RecordingError, match="3 of another form"):
        frame_by_gps(views_of(bend()), tmp_path / "bad.txt")


def test_without_files_the_map_is_turned_as_its_images_stand_and_that_is_said(caplog):
    frame = frame_of_itself(views_of(bend()))
    R = frame.similarity.R
    np.testing.assert_allclose(R @ TO_MODEL.R @ [0.0, 0.0, 1.0], [0.0, 0.0, 1.0], atol=1e-9)
    assert frame.similarity.scale == 1.0
    assert "own scale" in caplog.text
    assert "is turned so that its z is its images' mean up" in caplog.text


@pytest.mark.parametrize("degrees", [0.0, 10.0, 44.0])
def test_a_model_whose_z_points_up_keeps_its_axes(degrees, caplog):
    up = poses.from_xyz_rpy(np.zeros(3), [np.radians(degrees), 0.0, 0.0])[:3, 2]
    frame = frame_of_itself(PosedViews(NAMES, bend(), np.tile(up, (20, 1))))
    np.testing.assert_array_equal(frame.similarity.R, np.eye(3))
    assert f"axes (its images' mean up is {degrees:.0f} deg off its z)" in caplog.text


def test_a_model_upside_down_is_turned_over():
    frame = frame_of_itself(PosedViews(NAMES, bend(), np.tile([0.0, 0.0, -1.0], (20, 1))))
    np.testing.assert_allclose(frame.similarity.R @ [0.0, 0.0, -1.0], [0.0, 0.0, 1.0], atol=1e-9)
    assert np.linalg.det(frame.similarity.R) == pytest.approx(1.0)


def test_images_without_a_common_up_are_no_reason_to_turn():
    ups = np.random.default_rng(0).normal(size=(20, 3))
    with pytest.raises(RecordingError, match="no up direction in common"):
        frame_of_itself(PosedViews(NAMES, bend(), ups / np.linalg.norm(ups, axis=1)[:, None]))


def test_a_similarity_that_turns_images_over_is_said(tmp_path, caplog):
    path = tmp_path / "s.json"
    path.write_text(similarity_text(inverse(TO_MODEL)))
    frame_by_similarity(views_of(bend()), path)
    assert not caplog.text
    frame_by_similarity(views_of(bend(), up=(0.0, 1.0, 0.0)), path)
    assert "90 deg off the map's z axis" in caplog.text
