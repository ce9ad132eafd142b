import numpy as np
import pytest

from fgsn_ros.errors import LocalizationError
from fgsn_ros.geometry import poses
from fgsn_ros.geometry.cameras import Camera
from fgsn_ros.localization.measurement import (
    EvidenceTable,
    LabelMeasurement,
    MeasurementSettings,
    PinholeGrid,
)
from fgsn_ros.segmentation.labels import UNLABELLED, LabelMap


def test_outliers_bound_what_a_point_can_cost_and_barely_change_what_it_gains():
    table = np.array([[3.0, -50.0], [-50.0, 1.0]])
    robust = EvidenceTable(table, 0.1).values
    assert robust.shape == (3, 2)
    assert robust[0, 1] == pytest.approx(np.log(0.1), abs=1e-6)
    assert robust[0, 0] == pytest.approx(np.log(0.9 * np.exp(3.0) + 0.1), abs=1e-6)
    assert not robust[2].any()
    np.testing.assert_allclose(EvidenceTable(table, 0.0).values[:2], table)


def test_the_range_of_scores_is_the_mean_over_the_labels_that_a_point_meets():
    rng = np.random.default_rng(0)
    log_ratio, occurs = rng.normal(size=(5, 5)), np.array([7, 0, 3, 1, 9])
    table = EvidenceTable(log_ratio, 0.2)
    chances, rights = table.range_of(occurs)
    for m in range(5):
        by_chance = np.average(table.values[:5, m], weights=occurs)
        right = np.average(table.values[:5, m], weights=occurs * np.exp(log_ratio[:, m]))
        np.testing.assert_allclose((chances[m], rights[m]), (by_chance, right), rtol=1e-6)


@pytest.mark.parametrize("table", [np.zeros((3, 4)), np.full((3, 3), np.nan)])
def test_label_statistics_that_are_no_square_finite_table_are_refused(table):
    with pytest.raises(LocalizationError, match="label statistics"):
        EvidenceTable(table, 0.1)


def test_frames_from_the_same_place_share_their_evidence():
    settings = MeasurementSettings(independent_distance_m=2.0, independent_angle_rad=0.5)
    assert settings.evidence_share(None) == 1.0
    assert settings.evidence_share(np.eye(4)) == 0.0
    assert settings.evidence_share(poses.from_planar(0.5, 0, 0)) == pytest.approx(0.25)
    assert settings.evidence_share(poses.from_planar(0, 0, 0.25)) == pytest.approx(0.5)
    assert settings.evidence_share(poses.from_planar(9.0, 0, 0)) == 1.0


def frame_likelihood(drive, settings=None, index=20):
    measurement = LabelMeasurement(
        drive.semantic_map, drive.log_ratio, drive.mounts, settings or MeasurementSettings()
    )
    T = drive.truth.at(drive.stamps[index])
    return T, measurement.likelihood(
        "camera", drive.label_maps[index], (T, np.zeros((6, 6))), T, np.random.default_rng(0)
    )


def test_the_likelihood_peaks_at_the_true_pose(drive):
    T, likelihood = frame_likelihood(drive)
    offsets = np.linspace(-2.0, 2.0, 81)
    for direction in ([1.0, 0, 0], [0, 1.0, 0]):
        moved = T @ poses.from_rotation_translation(np.eye(3), offsets[:, None] * direction)
        assert abs(offsets[np.argmax(likelihood(moved))]) <= 0.3
    angles = np.deg2rad(np.linspace(-8.0, 8.0, 81))
    turned = T @ poses.from_planar(0.0, 0.0, angles)
    assert abs(np.rad2deg(angles[np.argmax(likelihood(turned))])) <= 1.0


def test_the_points_count_as_at_most_the_independent_ones(drive):
    T, ten = frame_likelihood(drive, MeasurementSettings(independent_points=10.0))
    _, twenty = frame_likelihood(drive, MeasurementSettings(independent_points=20.0))
    np.testing.assert_allclose(2.0 * ten(T[None]), twenty(T[None]), rtol=1e-6)
    assert abs(ten(T[None])[0]) < 10.0 * np.log(40.0)


def test_the_match_score_is_high_at_the_truth_and_low_elsewhere(drive):
    T, likelihood = frame_likelihood(drive)
    there = likelihood.match(T)
    assert there.visible_points > 0.95 * len(likelihood.selected)
    elsewhere = likelihood.match(T @ poses.from_planar(3.0, 1.0, 0.3))
    assert there.score > 0.8
    assert elsewhere.score < 0.3
    behind = likelihood.match(T @ poses.from_planar(0.0, 0.0, np.pi))
    assert (behind.visible_points, behind.score) == (0, 0.0)


def test_the_match_quality_is_near_one_at_the_truth_and_nothing_by_chance(drive):
    """The statistics leave out the cells that labels share at their borders: 1 is not reached."""
    T, likelihood = frame_likelihood(drive)
    assert 0.6 < likelihood.match(T).quality < 1.05
    assert np.isnan(likelihood.match(T @ poses.from_planar(0.0, 0.0, np.pi)).quality)
    rng = np.random.default_rng(3)
    moved = [
        likelihood.match(T @ poses.from_planar(*rng.uniform(-8.0, 8.0, 2), rng.uniform(-0.6, 0.6)))
        for _ in range(40)
    ]
    assert abs(np.mean([match.quality for match in moved])) < 0.35


def test_statistics_of_another_label_count_are_refused(drive):
    with pytest.raises(LocalizationError, match="do not fit a map"):
        LabelMeasurement(drive.semantic_map, np.zeros((7, 7)), drive.mounts, MeasurementSettings())


LENSES = {
    "none": Camera(323, 240, 250.0, 240.0, 160.0, 118.0),
    "barrel": Camera(323, 240, 250.0, 240.0, 160.0, 118.0, "plumb_bob", (-0.3, 0.1, 0.001, -0.002)),
    "pincushion": Camera(323, 240, 250.0, 240.0, 160.0, 118.0, "plumb_bob", (0.4,)),
    "fisheye": Camera(323, 240, 150.0, 150.0, 160.0, 118.0, "equidistant", (-0.01, 0.002)),
}


def quadrants(camera):
    """Label of each cell's ray: a checkerboard of directions, 6 x 6 degrees wide or so."""
    v, u = np.mgrid[0 : camera.height, 0 : camera.width]
    rays, valid = camera.unproject(np.stack([u, v], axis=-1).astype(float))
    cells = np.floor(np.where(valid[..., None], rays[..., :2], 0.0) / 0.3).astype(int)
    return np.where(valid, (cells[..., 0] + 3 * cells[..., 1]) % 7, UNLABELLED).astype(np.uint16)


def labelled(labels):
    return LabelMap(labels, np.ones(labels.shape, np.float32), 8, 7)


@pytest.mark.parametrize("name", LENSES)
def test_undistorted_labels_are_those_of_the_rays_of_a_pinhole(name):
    grid = PinholeGrid(LENSES[name], 8)
    labels = grid.labels(labelled(quadrants(grid.distorted)), 7)
    expected = quadrants(grid.camera).astype(np.int32)
    assert labels.shape == (30, 41)
    seen = labels < 7
    assert seen.mean() > (0.99 if name == "none" else 0.4)
    # Nearest cells: only those within half a cell of a border of the checkerboard may differ.
    assert (labels[seen] == expected[seen]).mean() > (0.999 if name == "none" else 0.8)


def test_pinhole_cells_outside_a_distorted_image_are_unlabelled():
    grid = PinholeGrid(LENSES["pincushion"], 8)
    labels = grid.labels(labelled(np.zeros((30, 41), np.uint16)), 7)
    assert labels[0, 0] == 7
    assert labels[15, 20] == 0


def test_a_label_map_of_another_size_or_label_set_is_refused():
    grid = PinholeGrid(LENSES["barrel"], 8)
    with pytest.raises(LocalizationError, match="does not fit"):
        grid.labels(labelled(np.zeros((41, 30), np.uint16)), 7)
    with pytest.raises(LocalizationError, match="does not fit"):
        grid.labels(labelled(np.zeros((30, 41), np.uint16)), 8)


def test_labels_beyond_the_label_count_are_unlabelled():
    grid = PinholeGrid(LENSES["none"], 8)
    labels = grid.labels(labelled(np.full((30, 41), UNLABELLED, np.uint16)), 7)
    assert (labels == 7).all()
