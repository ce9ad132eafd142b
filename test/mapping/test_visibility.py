import numpy as np

from fgsn_ros.geometry import poses
from fgsn_ros.geometry.cameras import Camera
from fgsn_ros.mapping.structure import StructurePoints
from fgsn_ros.mapping.tracks import Tracks
from fgsn_ros.mapping.visibility import Visibility, in_camera


def structure_of(points, tracked):
    """Seen from the origin along z, each from its range +- 1 m."""
    points = np.asarray(points, np.float64)
    ranges = np.linalg.norm(points, axis=1)
    track = np.asarray(tracked, np.int64)
    return StructurePoints(
        points=points,
        directions=points / ranges[:, None],
        min_range=ranges - 1.0,
        max_range=ranges + 1.0,
        error_px=np.zeros(len(points)),
        observations=Tracks(track, np.zeros_like(track), np.zeros((len(track), 2), np.float32)),
    )


FRAMES = np.array([np.eye(4), poses.exp([0, 0, -20.0, 0, 0, 0])])
CAMERA = Camera(300, 200, 200.0, 200.0, 149.5, 99.5)


def test_a_point_behind_another_is_hidden_unless_its_own_track_shows_it():
    points = [(0.0, 0.0, 10.0), (0.01, 0.01, 20.0), (2.0, 0.0, 20.0), (0.0, 0.0, 18.0)]
    visibility = Visibility.of(structure_of(points, [0, 3]), 1.5, np.radians(40))
    seen, pixels, tracked = visibility.visible(0, FRAMES[0], CAMERA)
    np.testing.assert_array_equal(seen, [0, 2, 3])
    np.testing.assert_array_equal(tracked, [True, False, True])
    np.testing.assert_allclose(pixels[1], [169.5, 99.5])


def test_points_seen_from_far_outside_their_range_or_direction_are_left_out():
    points = [(0.0, 0.0, 10.0), (-5.0, 0.0, 50.0), (8.0, 0.0, 25.0)]
    structure = structure_of(points, [0])
    visibility = Visibility.of(structure, 1.5, np.radians(10))
    np.testing.assert_array_equal(visibility.visible(0, FRAMES[0], CAMERA)[0], [0, 1, 2])
    # from 20 m back: three times the range; within 1.5; 10 deg off and more
    seen = visibility.visible(1, FRAMES[1], CAMERA)[0]
    expected_turn = np.degrees(np.arctan(8 / 25) - np.arctan(8 / 45))
    assert expected_turn < 10
    np.testing.assert_array_equal(seen, [1])


def test_depth_is_along_the_optical_axis():
    np.testing.assert_allclose(in_camera(FRAMES[1], np.array([[3.0, 1.0, 10.0]]))[:, 2], [30.0])
