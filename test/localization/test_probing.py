import numpy as np
import pytest

from fgsn_ros.geometry import poses
from fgsn_ros.geometry.cameras import T_BASE_OPTICAL, Camera, CameraMount
from fgsn_ros.localization.measurement import EvidenceTable, PinholeGrid
from fgsn_ros.localization.probing import Probe, ProbeSettings, View
from fgsn_ros.localization.selection import SelectionSettings
from fgsn_ros.mapping.semantic_map import SemanticMap

STRIDE, APART_M = 8, 5.0
CAMERA = Camera(320, 240, 160.0, 160.0, 159.5, 119.5)
MOUNT = CameraMount(CAMERA, T_BASE_OPTICAL, "camera")
LOG_RATIO = np.array([[2.0, -2.0, -2.0], [-2.0, 2.0, 0.8], [-2.0, 0.8, 2.0]], np.float32)
"""[observed, map]: labels 1 and 2 are like each other, 0 is like none."""
LEFT, RIGHT = 1.0, -1.0
FULL, BARE, ELSEWHERE = 0.0, 200.0, 400.0
"""Where the places stand along x [m]; each sees a wall of its own."""


def wall(station, side, label, count, rng):
    """Points (N, 3) and labels (N,) in one half of the wall that is 8 m before a station."""
    y, z = side * rng.uniform(0.3, 6.0, count), rng.uniform(-4.0, 4.0, count)
    return np.stack([np.full(count, station + 8.0), y, z], axis=1), np.full(count, label)


@pytest.fixture(scope="module")
def semantic_map():
    """One place with a wall of label 0 to its left; two that have a wall of 2 to the right, too."""
    rng = np.random.default_rng(0)
    walls = [wall(x, LEFT, 0, 300, rng) for x in (FULL, BARE, ELSEWHERE)]
    walls += [wall(x, RIGHT, 2, 300, rng) for x in (FULL, ELSEWHERE)]
    points = np.concatenate([points for points, _ in walls])
    labels = np.concatenate([labels for _, labels in walls]).astype(np.uint16)
    count = len(points)
    directions = np.tile([1.0, 0.0, 0.0], (count, 1))
    ranges = np.full(count, 2.0), np.full(count, 30.0)
    T = poses.from_planar(np.array([FULL, BARE, ELSEWHERE]), 0.0, 0.0)
    histograms = np.full((3, 3), 1.0 / 3.0)
    confidence = np.full(count, 0.9)
    return SemanticMap.from_points(
        points, labels, confidence, directions, *ranges, T, histograms, "a" * 64
    )


def compared(semantic_map, at, right):
    """The pose at a station beside the others, by an image with a label on its right half."""
    probe = Probe(semantic_map, SelectionSettings(), EvidenceTable(LOG_RATIO, 0.35))
    pinhole = PinholeGrid(CAMERA, STRIDE)
    grid = np.zeros((CAMERA.height // STRIDE, CAMERA.width // STRIDE), np.int32)
    grid[:, grid.shape[1] // 2 :] = right
    grid[-5:] = 3 - right  # so that both occur; the walls do not reach down there
    assert probe.add(View(0.0, np.eye(4), MOUNT, pinhole, grid, 60.0), ProbeSettings())
    T = poses.from_planar(at, 0.0, 0.0)
    return probe.compare(T, np.eye(4), APART_M, np.inf)


def test_a_place_with_little_to_show_is_not_given_up_for_one_that_fits_half_as_well(semantic_map):
    comparison = compared(semantic_map, BARE, right=1)
    assert comparison.lead > 5.0


def test_a_place_that_fits_half_as_well_is_given_up_for_one_with_little_to_show(semantic_map):
    comparison = compared(semantic_map, FULL, right=1)
    assert comparison.lead < -5.0
    np.testing.assert_allclose(comparison.T_map_other[:2, 3], [BARE, 0.0], atol=1.5)


def test_a_place_with_more_to_show_that_fits_all_of_it_leads(semantic_map):
    comparison = compared(semantic_map, FULL, right=2)
    assert comparison.lead == pytest.approx(0.0, abs=1.5)  # the place elsewhere is its twin
    assert comparison.third < comparison.own - 1.0
