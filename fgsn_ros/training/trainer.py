"""`train`: one training run, from settings to checkpoint."""

import logging
from collections.abc import Callable
from pathlib import Path

import faiss
import torch

from fgsn_ros.config import require
from fgsn_ros.correspondences.files import VALIDATION_LIST
from fgsn_ros.correspondences.images import ImageCache
from fgsn_ros.errors import OutputError
from fgsn_ros.outputs import check_file, check_no_input
from fgsn_ros.segmentation.architectures import LRASPP
from fgsn_ros.segmentation.checkpoint import load_checkpoint, save_checkpoint
from fgsn_ros.segmentation.networks import FgsnNetwork
from fgsn_ros.segmentation.networks.start_weights import initial_network
from fgsn_ros.training.cross_season import CrossSeasonObjective
from fgsn_ros.training.fine_grained import FineGrainedObjective
from fgsn_ros.training.loop import TrainingLoop
from fgsn_ros.training.model import Model
from fgsn_ros.training.objective import Objective
from fgsn_ros.training.processes import Processes
from fgsn_ros.training.run_files import RunFiles
from fgsn_ros.training.semantic import SemanticObjective
from fgsn_ros.training.settings import TrainSettings
from fgsn_ros.training.statistics import with_statistics

_log = logging.getLogger(__name__)

_OBJECTIVES: dict[str, Callable[[TrainSettings, Processes], Objective]] = {
    "semantic": SemanticObjective,
    "fgsn": FineGrainedObjective,
    "cross-season": CrossSeasonObjective,
}


def train(settings: TrainSettings) -> Path:
    """Train a network and write its checkpoint; returns the checkpoint's path.

    The "statistics" objective only counts the label statistics of `init` on `data`. Started by
    `torchrun`, all processes train together and the first one writes.

    Raises:
        FgsnError: data, initial weights or output are unusable, the loss is not finite, or a
            signal asked to stop.
    """
    _check_output(settings)
    if settings.threads:
        torch.set_num_threads(settings.threads)
        faiss.omp_set_num_threads(settings.threads)
    processes = Processes(settings.device)
    try:
        if settings.objective != "statistics":
            _learn(settings, processes)
        if processes.first:
            _add_statistics(settings)
    finally:
        processes.close()
    return settings.checkpoint


def _check_output(settings: TrainSettings) -> None:
    """Refuse to write over what is read, or over an earlier run."""
    inputs = [path for path in (settings.data, settings.scenes, settings.init) if path]
    check_no_input(settings.output, inputs)
    for path in (settings.checkpoint, settings.best, settings.state):
        check_no_input(path, inputs)
        check_file(path, overwrite=True)
    if settings.objective != "statistics" and not settings.resume and settings.state.exists():
        raise OutputError(
            f"{settings.output} holds a run already; continue it with --resume or choose another "
            "output"
        )


def _learn(settings: TrainSettings, processes: Processes) -> None:
    objective = _OBJECTIVES[settings.objective](settings, processes)
    generator = torch.Generator().manual_seed(settings.seed)
    network, mean, std = initial_network(
        settings.architecture, objective.label_count, settings.init, generator
    )
    _require_statistics(settings, network)
    if processes.first:
        settings.output.mkdir(parents=True, exist_ok=True)
    network = network.to(processes.device).to(memory_format=torch.channels_last)
    with RunFiles(settings, processes.first) as files:
        TrainingLoop(settings, objective, Model(network, mean, std), files, processes).run()


def _require_statistics(settings: TrainSettings, network: FgsnNetwork) -> None:
    """Refuse to learn batch statistics from one image, as the networks on ResNets would."""
    learnt = settings.init is None or not settings.freeze_batch_norm
    require(
        not learnt or settings.batch_size > 1 or network.architecture == LRASPP,
        f"batch_size 1 cannot train the batch norms of {network.architecture}; "
        "give init, or a larger batch_size",
    )


def _add_statistics(settings: TrainSettings) -> None:
    """Count the statistics of the labels as they are read back, where there are correspondences."""
    cache = ImageCache(settings.cache_mb)
    if settings.objective == "statistics":
        assert settings.init is not None
        _write_with_statistics(settings, settings.init, settings.checkpoint, cache)
        return
    if settings.objective == "semantic" and not (settings.data / VALIDATION_LIST).is_file():
        return
    for path in (settings.checkpoint, settings.best):
        if path.exists():
            _write_with_statistics(settings, path, path, cache)


def _write_with_statistics(
    settings: TrainSettings, source: Path, path: Path, cache: ImageCache
) -> None:
    title = f"label statistics of {path.name}"
    checkpoint = with_statistics(load_checkpoint(source), settings.data, cache, title)
    _log.info("%s: label statistics: %s", path.name, checkpoint.training["statistics"])
    save_checkpoint(path, checkpoint, settings.half)
