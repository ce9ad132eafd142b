"""The FGSN paper's questions (Larsson et al., ICCV 2019, section 4), each variant trained anew.

    python benchmark/experiments.py --work /tmp/experiments

How many labels, against semantic classes? From which pretraining? With or without correspondences?
Trained in another town than the one to localize in? Clustered again, and what becomes of the last
layer? Each variant is trained with several seeds and judged by localization (see seasons.py) and by
its labels on held-out correspondences. Writes experiments.md, .json and .png, anew after each run.

Without --data and --places, towns are simulated. What was rendered, trained and judged is kept in
--work under names that hold its settings and is used again: a killed run goes on where it was.
Remove the folder after a change of the code.
"""

import logging
import signal
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import repeat
from multiprocessing import get_context
from pathlib import Path

import tyro
from experiment_classification import train_classifier
from experiment_data import (
    digest_of,
    has_classes,
    held_out_folder,
    own_streets,
    simulated_data,
    training_folder,
)
from experiment_places import Place, given_places, simulated_places
from experiment_runs import Job, result_of, trained_once
from experiment_tables import Row, experiment_table, plot
from experiment_variants import VARIANTS, Form, Variant, full_form, recipe, small_form
from scoring import write_results

from fgsn_ros.config import load_yaml, require
from fgsn_ros.segmentation.architectures import LRASPP
from fgsn_ros.training.settings import TrainSettings


@dataclass(frozen=True)
class Experiments:
    """Train and judge all variants."""

    full: bool = False
    """published recipe, more towns, seeds and steps: for a GPU"""
    data: Path | None = None
    """correspondences to train on and to hold out; else of simulated towns"""
    places: Path | None = None
    """YAML list of name, map (recording) and drives (name: recording), with ground truth and
    odometry; else simulated towns"""
    own_data: Path | None = None
    """correspondences of the places' streets, from other drives; else simulated"""
    segmentation_weights: Path | None = None
    """network trained on semantic classes; else trained on the classes of the data"""
    classification_weights: Path | None = None
    """torchvision's weights of the trunk; else trained on the classes of the data"""
    settings: Path | None = None
    """YAML file of training settings for all variants, over the form's"""
    seeds: int = 0
    """trainings of each variant; 0: as the form has it"""
    only: tuple[str, ...] = ()
    """questions or names of variants to run; all without it"""
    output: Path = Path("benchmark/results")
    """folder of experiments.md, .json and .png"""
    work: Path = Path("benchmark/work")
    """folder that keeps drives, data, networks and results"""
    jobs: int = 1
    """runs at once, >= 1"""
    threads: int = 1
    """CPU threads of a run, >= 0; 0: PyTorch's choice"""

    def __post_init__(self) -> None:
        """Check the ranges."""
        require(self.jobs >= 1, "jobs must be >= 1")
        require(min(self.seeds, self.threads) >= 0, "seeds and threads must be >= 0")
        known = {name for variant in VARIANTS for name in (variant.group, variant.name)}
        require(known >= set(self.only), f"only names none of {sorted(known)}")

    def run(self) -> None:
        """Train and judge; write table and plot after each result."""
        rows = [Row(variant.group, variant.name) for variant in self._variants]
        jobs = [self._job(v, seed) for seed in range(self._seeds) for v in self._variants]
        distinct = list({job.name: job for job in jobs}.values())
        for job, values in self._results(distinct):
            for row, each in zip(rows * self._seeds, jobs, strict=True):
                if each.name == job.name:
                    row.results[job.settings.seed] = values
            self._write(rows)
        print(experiment_table(rows))

    def _results(self, jobs: list[Job]) -> Iterator[tuple[Job, Mapping[str, object]]]:
        """Each job and its result, as they are done: the first seed of all variants first."""
        if self.jobs == 1:
            yield from ((job, result_of(job, self.work)) for job in jobs)
            return
        # Spawned: a fork of a process with OpenMP threads may hang.
        with ProcessPoolExecutor(self.jobs, mp_context=get_context("spawn")) as pool:
            yield from zip(jobs, pool.map(result_of, jobs, repeat(self.work)), strict=True)

    def _write(self, rows: list[Row]) -> None:
        missing = len(rows) * self._seeds - sum(len(row.results) for row in rows)
        unfinished = f" Not finished: {missing} results are missing." if missing else ""
        text = f"{experiment_table(rows)}\n\n{self._note()}{unfinished}"
        write_results(self.output, "experiments", text, [row.values() for row in rows])
        plot(self.output / "experiments.png", rows)

    def _note(self) -> str:
        judged = self._form.held_out
        places = sum(len(place.drives) for place in self._places)
        steps = recipe(self._form.training, self._common, Path()).iterations
        made = self._made_steps
        stand_in = (
            "The classification pretraining is a stand-in for ImageNet: the trunk trained on which "
            f"semantic classes cover a crop, {made} steps as the segmentation pretraining. "
        )
        return (
            f"Mean +- standard deviation over {self._seeds} seeds; {steps} steps of training, "
            f"without pretraining {steps + made}; at most {self._form.references} reference "
            f"images. Consistency and information [nats] on {judged} held-out pairs of other "
            f"towns. {places} localized drives from 2 m and 5 deg off, frames pooled: recall [%] "
            "within position and heading, median position error [m]; lost: drives that end more "
            "than 2 m off. "
            + (stand_in if self.classification_weights is None else "")
            + "Each question changes one thing of the same run, which it repeats in a row: 100 "
            "labels, from segmentation, with correspondences, of other towns."
        )

    @property
    def _form(self) -> Form:
        return full_form() if self.full else small_form()

    @property
    def _seeds(self) -> int:
        return self.seeds or self._form.seeds

    @cached_property
    def _common(self) -> dict[str, object]:
        """Training settings of all runs, over the form's."""
        given = load_yaml(self.settings) if self.settings else {}
        return {"threads": self.threads} | given

    @property
    def _made_steps(self) -> int:
        return recipe(self._form.pretraining, {}, Path()).iterations

    @cached_property
    def _variants(self) -> list[Variant]:
        """Those that are asked for and that the data allow."""
        chosen = [v for v in VARIANTS if not self.only or {v.group, v.name} & set(self.only)]
        return [variant for variant in chosen if self._possible(variant)]

    def _possible(self, variant: Variant) -> bool:
        """Whether the data have what a variant needs."""
        classes = has_classes(self._source)
        if variant.own_streets and self.places is not None:
            return self.own_data is not None
        if "objective" in variant.changes and not classes:
            return False
        if variant.start == "classification" and self.classification_weights is None:
            return classes and self._architecture == LRASPP
        if variant.start == "segmentation" and self.segmentation_weights is None:
            return classes
        return True

    @property
    def _architecture(self) -> str | None:
        return recipe(self._form.training, self._common, Path()).architecture

    def _job(self, variant: Variant, seed: int) -> Job:
        data = self._own_training if variant.own_streets else self._training
        settings = variant.settings(self._form, self._common, data, self._init(variant))
        held_out = held_out_folder(self.work, self._source, self._form.held_out)
        return Job(replace(settings, seed=seed), held_out, self._places)

    def _init(self, variant: Variant) -> Path | None:
        if variant.start == "nothing":
            return None
        return self._segmentation if variant.start == "segmentation" else self._classification

    @cached_property
    def _source(self) -> Path:
        return self.data or simulated_data(self.work, self._form.simulated)

    @cached_property
    def _places(self) -> tuple[Place, ...]:
        if self.places is not None:
            return given_places(self.places, self._form)
        return simulated_places(self.work, self._form)

    @cached_property
    def _training(self) -> Path:
        return training_folder(self.work, self._source, self._form.references)

    @cached_property
    def _own_training(self) -> Path:
        source = self.own_data or own_streets(self.work, self._form)
        return training_folder(self.work, source, self._form.references)

    @cached_property
    def _segmentation(self) -> Path:
        """The network that fine-grained training starts from."""
        if self.segmentation_weights is not None:
            return self.segmentation_weights
        init = self.classification_weights
        settings = replace(self._pretraining, init=init, freeze_batch_norm=False)
        return trained_once(replace(settings, output=self._pretrained(settings, "segmentation")))

    @cached_property
    def _classification(self) -> Path:
        """The trunk's weights, under torchvision's names."""
        if self.classification_weights is not None:
            return self.classification_weights
        settings = self._pretraining
        path = self._pretrained(settings, "classification").with_suffix(".pth")
        if not path.exists():
            train_classifier(settings, path)
        return path

    @property
    def _pretraining(self) -> TrainSettings:
        common: dict[str, object] = {"threads": self.threads, "architecture": self._architecture}
        return recipe(self._form.pretraining, common, self._training)

    def _pretrained(self, settings: TrainSettings, kind: str) -> Path:
        return self.work / f"pretrained-{kind}-{digest_of(settings.described())}"


if __name__ == "__main__":
    # unwinds: else the pool's processes would outlive a SIGTERM
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    tyro.cli(Experiments, description=__doc__).run()
