"""One variant with one seed: trained, judged on held-out correspondences and by localization."""

import json
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from experiment_data import Place, digest_of
from scoring import Result, figures, judged, segmented_once, strict

from fgsn_ros.commands.start import Start
from fgsn_ros.errors import FgsnError, Stopped
from fgsn_ros.evaluation.trajectory_errors import dead_reckoning
from fgsn_ros.localization.pipeline import localize
from fgsn_ros.localization.settings import LocalizerSettings
from fgsn_ros.mapping.builder import build_map
from fgsn_ros.outputs import whole_file
from fgsn_ros.segmentation.checkpoint import load_checkpoint, save_checkpoint
from fgsn_ros.segmentation.segmenter import Segmenter
from fgsn_ros.sequences.open import open_recording
from fgsn_ros.sequences.recording import require_ground_truth, require_odometry
from fgsn_ros.training.images import ImageCache
from fgsn_ros.training.settings import TrainSettings
from fgsn_ros.training.statistics import with_statistics
from fgsn_ros.training.trainer import train

_START = Start(offset_m=2.0, offset_deg=5.0)
_log = logging.getLogger(__name__)

Values = Mapping[str, object]


@dataclass(frozen=True)
class Job:
    """A run to train and judge. `settings.output` is set by `at`."""

    settings: TrainSettings
    held_out: Path
    """folder whose validation list labels are judged on"""
    places: tuple[Place, ...]
    """to localize in; may be none"""

    @property
    def name(self) -> str:
        """Names the run by everything that its result depends on."""
        made_with = replace(self.settings, output=Path(), resume=False, workers=0, cache_mb=0)
        drives = [(place.name, [name for name, _ in place.drives]) for place in self.places]
        paths = [path.name for place in self.places for _, path in place.drives]
        digest = digest_of(made_with.described(), self.held_out.name, drives, paths)
        kind = self.settings.objective, self.settings.label_count
        return f"{kind[0]}-{kind[1]}-seed{self.settings.seed}-{digest}"


def trained_once(settings: TrainSettings) -> Path:
    """Checkpoint of a run that is continued where it was stopped, and not run again."""
    done = settings.output / "done"
    if not done.exists():
        train(replace(settings, resume=settings.state.exists()))
        settings.state.unlink(missing_ok=True)  # large
        settings.best.unlink(missing_ok=True)  # judged is the last
        done.touch()
    return settings.checkpoint


def result_of(job: Job, work: Path) -> Values:
    """Figures of a run, kept in `work`; what could not be run says so."""
    kept = work / "results" / f"{job.name}.json"
    if kept.exists():
        return dict(json.loads(kept.read_text()))
    if job.settings.threads:
        torch.set_num_threads(job.settings.threads)
    try:
        values = _made(job, work / "runs" / job.name)
    except Stopped:
        raise
    except FgsnError as error:
        _log.warning("%s failed: %s", job.name, error)
        values = {"failed": str(error)}
    kept.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(kept) as temporary:
        temporary.write_text(json.dumps(strict(values), indent=1))
    return values


def _made(job: Job, folder: Path) -> Values:
    started = time.monotonic()
    path = trained_once(replace(job.settings, output=folder))
    trained = time.monotonic()
    cache = ImageCache(job.settings.cache_mb, job.settings.short_side_px)
    checkpoint = with_statistics(load_checkpoint(path), job.held_out, cache)
    judged_path = folder / "judged.safetensors"
    save_checkpoint(judged_path, checkpoint, job.settings.half)
    found, reckoned = _localized(judged_path, job.places, job.settings.seed)
    values: dict[str, object] = {
        "held out": checkpoint.training["statistics"],
        "training s": trained - started,
        "judging s": time.monotonic() - trained,
    }
    if found:
        values["localization"] = figures(list(found.values()))
        values["dead reckoning"] = figures(list(reckoned.values()))
        values["by drive"] = {name: figures([result]) for name, result in found.items()}
    return values


def _localized(
    checkpoint: Path, places: tuple[Place, ...], seed: int
) -> tuple[dict[str, Result], dict[str, Result]]:
    """Errors by drive, and those of dead reckoning from the same starts."""
    segmenter = Segmenter(load_checkpoint(checkpoint))
    settings = replace(LocalizerSettings(), random_seed=seed)
    found, reckoned = {}, {}
    for number, place in enumerate(places):
        semantic_map = build_map(open_recording(place.map), segmenter)
        for index, (name, path) in enumerate(place.drives):
            recording = open_recording(path)
            truth, odometry = require_ground_truth(recording), require_odometry(recording)
            rng = np.random.default_rng([seed, number, index])
            initial = _START.initial(recording, truth, rng)
            labels = segmented_once(recording, segmenter)
            run = localize(
                recording, semantic_map, segmenter.checkpoint, initial, settings, labels,
                progress=False,
            )  # fmt: skip
            stamps = run.trajectory.stamps
            dead = dead_reckoning(odometry, initial.T_map_base, stamps, initial.stamp)
            found[f"{place.name}, {name}"] = judged(run.trajectory, truth)
            reckoned[f"{place.name}, {name}"] = judged(dead, truth)
    return found, reckoned
