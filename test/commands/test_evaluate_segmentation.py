import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from fgsn_ros.cli import main
from fgsn_ros.evaluation.segmentation_metrics import (
    normalized_mutual_information,
    segmentation_score,
)
from fgsn_ros.segmentation.labels import LabelSet, write_label_set

NAMES = ("road", "sky", "tree")


def run(*arguments: object) -> int:
    return main([str(argument) for argument in ("evaluate", "segmentation", *arguments)])


def save(path: Path, ids: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), ids)


@pytest.fixture
def truth(tmp_path: Path) -> list[np.ndarray]:
    """Images of three classes, with 3 (beyond the names) and 255 where there is none."""
    rng = np.random.default_rng(0)
    images = [rng.choice([0, 1, 2, 3, 255], (21, 34)).astype(np.uint8) for _ in range(3)]
    for index, image in enumerate(images):
        save(tmp_path / "classes" / f"{index}.png", image)
    return images


def predict(folder: Path, truth: list[np.ndarray], label_count: int) -> list[np.ndarray]:
    rng = np.random.default_rng(1)
    kind = np.uint8 if label_count < 256 else np.uint16
    images = [
        np.where(rng.random(image.shape) < 0.6, image, rng.integers(label_count, size=image.shape))
        % label_count
        for image in np.int64(truth)
    ]
    for index, image in enumerate(images):
        save(folder / f"{index}.png", image.astype(kind))
    return images


def test_classes_are_scored_by_name(
    truth: list[np.ndarray], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    labels = predict(tmp_path / "output" / "labels", truth, 3)
    write_label_set(tmp_path / "output", LabelSet("semantic", 3, 1, NAMES, "abc"))
    metrics_file = tmp_path / "metrics.json"

    assert run(tmp_path / "output", tmp_path / "classes", "--output", metrics_file) == 0

    confusion = np.zeros((3, 3), np.int64)
    for image, of_image in zip(labels, truth, strict=True):
        np.add.at(confusion, (of_image[of_image < 3], image[of_image < 3]), 1)
    score = segmentation_score(confusion)
    metrics = json.loads(metrics_file.read_text())
    assert metrics["images"] == 3
    assert metrics["pixels"] == sum((image < 3).sum() for image in truth)
    assert metrics["pixel_accuracy"] == pytest.approx(score.pixel_accuracy)
    assert metrics["class_accuracy"] == pytest.approx(score.class_accuracy)
    assert metrics["mean_iou"] == pytest.approx(score.mean_iou)
    assert metrics["frequency_weighted_iou"] == pytest.approx(score.frequency_weighted_iou)
    assert [entry["name"] for entry in metrics["classes"]] == list(NAMES)
    table = capsys.readouterr().out
    assert all(name in table for name in NAMES)
    assert f"{score.mean_iou:.4f}" in table


def test_of_clusters_mutual_information_is_told(
    truth: list[np.ndarray], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    labels = predict(tmp_path / "labels", truth, 400)
    metrics_file = tmp_path / "metrics.json"
    (tmp_path / "classes.txt").write_text("\n".join(NAMES))

    assert run(tmp_path / "labels", tmp_path / "classes", "--output", metrics_file) == 0

    counts = np.zeros((3, 400), np.int64)
    for image, of_image in zip(labels, truth, strict=True):
        np.add.at(counts, (of_image[of_image < 3], image[of_image < 3]), 1)
    metrics = json.loads(metrics_file.read_text())
    expected = normalized_mutual_information(counts)
    assert metrics["normalized_mutual_information"] == pytest.approx(expected)
    assert "mean_iou" not in metrics
    assert "normalized mutual information" in capsys.readouterr().out


def test_class_ids_can_be_left_out(
    truth: list[np.ndarray], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    predict(tmp_path / "labels", truth, 3)
    arguments = (tmp_path / "labels", tmp_path / "classes")
    assert run(*arguments, "--ignore", 3, 1) == 0
    pixels = sum(np.isin(image, [0, 2]).sum() for image in truth)
    assert f"{pixels} pixels with" in capsys.readouterr().out


def test_what_segment_writes_is_evaluated(
    workplace: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rng = np.random.default_rng(0)
    save(tmp_path / "images" / "a.png", rng.integers(0, 255, (41, 66, 3), np.uint8))
    save(tmp_path / "classes" / "a.png", rng.integers(0, 5, (41, 66), np.uint8))
    output = tmp_path / "output"
    segment = ("segment", tmp_path / "images", "--checkpoint", workplace.checkpoint)
    assert main([str(argument) for argument in (*segment, "--output", output)]) == 0
    capsys.readouterr()
    assert run(output, tmp_path / "classes") == 0
    out = capsys.readouterr().out
    assert "normalized mutual information" in out
    assert "mean IoU" not in out  # the workplace's labels are clusters


def test_what_cannot_be_compared_is_refused_in_one_line(
    truth: list[np.ndarray], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    classes, labels = tmp_path / "classes", tmp_path / "output" / "labels"
    predict(labels, truth, 3)

    def refused(*arguments: object) -> str:
        metrics = tmp_path / "metrics.json"
        assert run(*arguments, "--output", metrics) == 2
        assert not metrics.exists()
        error = capsys.readouterr().err
        assert error.count("\n") == 1
        return error

    assert "no folder" in refused(tmp_path / "absent", classes)
    assert "has the name of one" in refused(labels, tmp_path / "absent")
    assert "cannot read class names" in refused(labels, classes, "--class-names", tmp_path / "no")
    write_label_set(tmp_path / "output", LabelSet("semantic", 3, 1, NAMES, "abc"))
    (tmp_path / "classes.txt").write_text("car\n")
    assert "other classes than" in refused(labels, classes)
    (tmp_path / "classes.txt").unlink()
    (tmp_path / "many.txt").write_text("road\n" * 5000)
    line = refused(labels, classes, "--class-names", tmp_path / "many.txt")
    assert "5000 classes are named; more than 4096" in line
    (tmp_path / "two.txt").write_text("road\nsky\n")
    line = refused(labels, classes, "--class-names", tmp_path / "two.txt")
    assert "labels up to 2, but 2 classes" in line
    save(labels / "0.png", np.zeros((20, 34), np.uint8))
    assert "no grid of" in refused(labels, classes)
    (labels / "0.png").write_bytes(b"")
    assert "0.png" in refused(labels, classes)
