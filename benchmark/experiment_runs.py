"""One variant with one seed: trained, judged on held-out correspondences and by localization."""

import json
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from experiment_data import digest_of
from experiment_places import Place, localized
from scoring import figures, strict

from fgsn_ros.correspondences.images import ImageCache
from fgsn_ros.errors import CheckpointError, LocalizationError, MapError, TrainingError
from fgsn_ros.outputs import whole_file
from fgsn_ros.segmentation.checkpoint import load_checkpoint, save_checkpoint
from fgsn_ros.training.settings import TrainSettings
from fgsn_ros.training.statistics import with_statistics
from fgsn_ros.training.trainer import train

_log = logging.getLogger(__name__)

Values = Mapping[str, object]


@dataclass(frozen=True)
class Job:
    """A run to train and judge; the output of its settings is of no effect."""

    settings: TrainSettings
    held_out: Path
    """folder whose validation list labels are judged on"""
    places: tuple[Place, ...]
    """to localize in; may be none"""

    @property
    def name(self) -> str:
        """Names the run by everything that its result depends on."""
        made_with = replace(self.settings, output=Path(), resume=False, workers=0, cache_mb=0)
        places = [place.described() for place in self.places]
        # the settings name weights by the file alone: those made here differ in the folder
        init = self.settings.init.parent.name if self.settings.init else ""
        digest = digest_of(made_with.described(), init, self.held_out.name, places)
        return f"{self.settings.objective}-seed{self.settings.seed}-{digest}"


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
    """Figures of a run, kept in `work`; one that cannot be trained or judged says why."""
    kept = work / "results" / f"{job.name}.json"
    if kept.exists():
        return dict(json.loads(kept.read_text()))
    if job.settings.threads:
        torch.set_num_threads(job.settings.threads)
    try:
        values = _made(job, work / "runs" / job.name)
    except (TrainingError, CheckpointError, MapError, LocalizationError) as error:
        _log.warning("%s failed: %s", job.name, error)
        return {"failed": str(error)}  # not kept: the next run tries again
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
    found, reckoned = localized(judged_path, job.places, job.settings.seed)
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
