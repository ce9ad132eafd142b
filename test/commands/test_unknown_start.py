"""A recording of the street whose start nobody knows, localized into a result folder."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import street
from rosbags.highlevel import AnyReader

from fgsn_ros.commands.result_folder import Localization
from fgsn_ros.commands.start import Start
from fgsn_ros.localization.localizer import LocalizerSettings
from fgsn_ros.localization.measurement import MeasurementSettings
from fgsn_ros.localization.probing import ProbeSettings
from fgsn_ros.recordings.recording import Frame

FRAMES = 60
SETTINGS = LocalizerSettings(
    min_particles=300,
    max_particles=300,
    measurement=MeasurementSettings(points=500),
    probe=ProbeSettings(found_lead=street.FOUND_LEAD),
)


def localization() -> Localization:
    """Of a drive at 8 m/s, whose frames hold their index in place of a picture."""
    rng, truth = np.random.default_rng(7), street.weaving_drive(0.1 * FRAMES)
    stamps = 0.1 * np.arange(FRAMES) + 0.005
    label_maps = [street.label_map(truth.at(stamp), street.MOUNT, rng) for stamp in stamps]
    frames = [
        Frame(float(stamp), "camera", np.full((320, 512, 3), index, np.uint8))
        for index, stamp in enumerate(stamps)
    ]
    recording = SimpleNamespace(
        name="street",
        cameras={"camera": street.MOUNT},
        odometry=street.drifting_odometry(truth),
        odometry_origin="recorded",
        frame_count=FRAMES,
        frames=lambda: iter(frames),
    )
    segmenter = SimpleNamespace(
        checkpoint=SimpleNamespace(fingerprint="a" * 64, log_ratio=street.log_ratio_table()),
        segment=lambda image: label_maps[image[0, 0, 0]],
    )
    semantic_map = street.street_map(rng, 110.0)
    return Localization(recording, truth, semantic_map, segmenter, Start(unknown=True), SETTINGS)


def test_poses_and_dead_reckoning_begin_where_the_robot_is_found(tmp_path: Path) -> None:
    result = localization().write(tmp_path, bag=True)
    found = result.run.trajectory
    searched = FRAMES - len(found)
    assert 0 < searched < FRAMES // 2
    np.testing.assert_allclose(result.dead_reckoning.poses[0], found.poses[0], atol=1e-9)
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert metrics["localized"]["frames"] == len(found)
    assert metrics["localized"]["position_m"]["maximum"] < 0.5
    assert metrics["facts"]["start"]["unknown"] is True
    assert metrics["facts"]["skipped"] == {"before the robot was found": searched}
    with AnyReader([tmp_path / "bag"]) as reader:
        assert reader.topics["/pose"].msgcount == len(found)
