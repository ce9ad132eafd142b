import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from fgsn_ros.errors import TrajectoryError
from fgsn_ros.evaluation.report import evaluation_table, summarize, write_report
from fgsn_ros.geometry import poses
from fgsn_ros.geometry.trajectory import Trajectory, read_tum

STAMPS = 1000.0 + np.arange(0, 6, 0.1)
FACTS = {
    "odometry_origin": "recorded",
    "seed": np.int64(7),
    "worst": float("nan"),
    "times_ms": np.array([1.5, np.inf]),
    "map": Path("map"),
    "settings": {"particles": 1000, "seeds": (1, 2), "fast": np.bool_(True)},
}


def straight(lateral_m):
    T = poses.from_planar(5.0 * (STAMPS - STAMPS[0]), lateral_m, 0.0)
    return Trajectory(STAMPS, T)


def refuse(constant):
    raise AssertionError(f"{constant} is no JSON")


def written(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_report_holds_trajectory_metrics_and_plots(tmp_path):
    drift = straight(0.1 * (STAMPS - STAMPS[0]))
    metrics = write_report(tmp_path, straight(0.05), straight(0.0), drift, FACTS, skip_s=1.0)
    assert written(tmp_path) == ["errors.png", "metrics.json", "trajectory.png", "trajectory.tum"]
    np.testing.assert_allclose(read_tum(tmp_path / "trajectory.tum").poses, straight(0.05).poses)
    text = (tmp_path / "metrics.json").read_text()
    assert json.loads(text, parse_constant=refuse) == metrics
    assert metrics["localized"]["lateral_m"]["median"] == pytest.approx(0.05)
    assert metrics["localized"]["frames"] == 50
    assert metrics["dead_reckoning"]["lateral_m"]["maximum"] == pytest.approx(0.59)
    assert metrics["path_length_m"] == pytest.approx(29.5)
    for name in ("trajectory.png", "errors.png"):
        image = cv2.imread(str(tmp_path / name))
        assert image.shape[0] > 500
        assert image.std() > 5


def test_with_covariances_a_report_says_whether_they_hold(tmp_path):
    covariances = np.tile(np.diag(np.square([0.1, 0.1, 1.0, 1.0, 1.0, 0.01])), (60, 1, 1))
    metrics = write_report(
        tmp_path, straight(0.2), straight(0.0), None, FACTS, 1.0, covariances=covariances
    )
    assert {"covariances.txt", "consistency.png"} < set(written(tmp_path))
    told = metrics["consistency"]
    assert told["frames"] == 50
    assert told["nees"] == pytest.approx(4.0)
    assert told["coverage_percent"]["lateral"] == [0.0, 100.0, 100.0]
    assert told["coverage_percent"]["longitudinal"] == [100.0] * 3
    image = cv2.imread(str(tmp_path / "consistency.png"))
    assert image.std() > 5
    lines = evaluation_table(metrics).splitlines()
    assert "NEES 4.00 of x, y, heading" in lines[-3]
    assert lines[-2] == "within 3 sigma [%]: longitudinal 100.0, lateral 100.0, heading 100.0"
    assert max(map(len, lines)) <= 80


def test_the_path_over_a_hole_of_the_reference_does_not_count(tmp_path):
    whole = straight(0.0)
    seconds = STAMPS - STAMPS[0]
    known = (seconds < 2.05) | (seconds > 3.95)
    reference = Trajectory(STAMPS[known], whole.poses[known])
    metrics = write_report(tmp_path, straight(0.05), reference, None, {})
    assert metrics["localized"]["left_out"] == 19
    assert metrics["path_length_m"] == pytest.approx(5.0 * (2.0 + 1.9))


def test_facts_become_strict_json():
    metrics = summarize(straight(0.0), None, None, FACTS)
    assert metrics["facts"] == {
        "odometry_origin": "recorded",
        "seed": 7,
        "worst": None,
        "times_ms": [1.5, None],
        "map": "map",
        "settings": {"particles": 1000, "seeds": [1, 2], "fast": True},
    }
    json.dumps(metrics, allow_nan=False)


def test_without_reference_the_report_has_no_errors(tmp_path):
    metrics = write_report(tmp_path, straight(0.0), None, straight(0.3), {})
    assert written(tmp_path) == ["metrics.json", "trajectory.png", "trajectory.tum"]
    assert metrics["localized"] is None
    assert metrics["path_length_m"] == pytest.approx(29.5)
    assert evaluation_table(metrics) == "60 poses in 5.9 s; no reference to compare"


def test_the_same_run_gives_the_same_bytes(tmp_path):
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        write_report(tmp_path / name, straight(0.1), straight(0.0), straight(0.4), FACTS)
    for path in (tmp_path / "first").iterdir():
        assert path.read_bytes() == (tmp_path / "second" / path.name).read_bytes()


def test_the_table_sets_dead_reckoning_against_localized():
    metrics = summarize(straight(0.1), straight(0.0), straight(3.0), {})
    lines = evaluation_table(metrics).splitlines()
    assert lines[0].split() == ["dead", "reckoning", "localized"]
    assert lines[1].split() == ["median", "RMSE", "95", "%", "max"] * 2
    rows = {line[:16].strip(): line[16:].split() for line in lines}
    assert rows["position [m]"] == ["3.000"] * 4 + ["0.100"] * 4
    assert rows["heading [deg]"] == ["0.000"] * 8
    assert " ".join(rows["recall [%] *"]) == "0.0 / 0.0 / 100.0 100.0 / 100.0 / 100.0"
    assert rows["lost"] == ["yes", "no"]
    assert lines[-1] == "* within 0.25 m, 2 deg / 0.5 m, 5 deg / 5 m, 10 deg"
    assert max(map(len, lines)) == 80


def test_a_reference_of_another_time_writes_nothing(tmp_path):
    other = Trajectory(STAMPS + 100.0, straight(0.0).poses)
    with pytest.raises(TrajectoryError, match="no time in common"):
        write_report(tmp_path, straight(0.0), other, None, {})
    assert written(tmp_path) == []


def test_without_matplotlib_a_report_holds_no_plots_and_says_so(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    write_report(tmp_path, straight(0.05), straight(0.0), None, FACTS)
    assert written(tmp_path) == ["metrics.json", "trajectory.tum"]
    assert "fgsn_ros[simulation]" in caplog.text
