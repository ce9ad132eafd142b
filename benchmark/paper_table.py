"""The FGSN paper's main table: no labels, SSMC, GSMC and PFSL, by classes and by 20 to 500 labels.

    python benchmark/paper_table.py --work /tmp/table
    python benchmark/paper_table.py --work /tmp/table --labels packaged --locating.pair.map ...

Networks are trained on simulated towns (see experiments.py: its small form, or the published recipe
with --full), one for each of --labels; "packaged" is the one in the package. With each, images of
other seasons are located on a map made in summer, each by itself (see locating.py: the same
features and RANSAC in each column, places by the labels of the row), and tracked with odometry from
a wrong start by the particle filter (PFSL), which is judged at the same images; a recording without
odometry gets one that is derived from its poses. Two recordings take the towns' place by
--locating.pair.*. Recall within 0.25 m 2 deg / 0.5 m 5 deg / 5 m 10 deg (Larsson et al., ICCV
2019). Writes paper_table.md and .json after each row.

What was rendered, trained, mapped and located stays in --work: a run goes on where another stopped.
Remove the folder after a change of the code.
"""

import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro
from experiment_data import digest_of, simulated_data, training_folder
from experiment_runs import trained_once
from experiment_variants import VARIANTS, Form, Variant, full_form, recipe, small_form
from locating import Case, Locating, recall
from numpy.typing import NDArray
from scoring import markdown_table, write_results

from fgsn_ros.commands.demo import PACKAGED_CHECKPOINT
from fgsn_ros.commands.start import Start
from fgsn_ros.config import require
from fgsn_ros.evaluation.trajectory_errors import THRESHOLDS, compare
from fgsn_ros.geometry.trajectory import Trajectory
from fgsn_ros.localization.localizer import LocalizerSettings
from fgsn_ros.localization.pipeline import localize
from fgsn_ros.locating.consistency import Method
from fgsn_ros.mapping.local_features import load_local_features
from fgsn_ros.mapping.map_files import load_map
from fgsn_ros.outputs import whole_file
from fgsn_ros.recordings.folder_recording import FolderRecording
from fgsn_ros.recordings.odometry import OdometryNoise, derived_from
from fgsn_ros.recordings.recording import Recording
from fgsn_ros.training.settings import TrainSettings

CLASSES, PACKAGED = "classes", "packaged"
_TRACKED = "PFSL"
_COLUMNS: dict[str, Method] = {"no labels": "none", "SSMC": "ssmc", "GSMC": "gsmc"}
_CLASSES_VARIANT = next(variant for variant in VARIANTS if variant.name == "semantic classes")


@dataclass(frozen=True)
class PaperTable:
    """Train, locate and track; print and write the table."""

    labels: tuple[str, ...] = (CLASSES, "20", "100", "200", "500")
    """rows: classes, a number of labels, or packaged"""
    full: bool = False
    """the published recipe: for a GPU"""
    data: Path | None = None
    """correspondences with classes to train on; else of simulated towns"""
    init: Path | None = None
    """network that trainings start from; else one is trained on the classes of the data"""
    iterations: int | None = None
    """steps of each training, > 0; None: as the form has it"""
    data_towns: int | None = None
    """simulated towns of the data, the last of them held out, > 1; None: as the form has it"""
    data_length_m: float | None = None
    """length driven in each of them [m], > 0; None: as the form has it"""
    output: Path = Path("benchmark/results")
    """folder of paper_table.md and .json"""
    work: Path = Path("benchmark/work")
    """folder that keeps what was made"""
    threads: int = 1
    """CPU threads of rendering and training, > 0"""
    start: Start = field(default_factory=lambda: Start(offset_m=2.0, offset_deg=5.0))
    """of the tracked drives"""
    noise: OdometryNoise = field(default_factory=OdometryNoise)
    """of derived odometry"""
    localizer: LocalizerSettings = field(default_factory=LocalizerSettings)
    locating: Locating = field(default_factory=Locating)
    """towns, seasons and recordings; methods, checkpoint, work and output are set here"""

    def __post_init__(self) -> None:
        """Check the ranges."""
        known = {CLASSES, PACKAGED}
        require(len(self.labels) > 0, "give a row")
        for name in self.labels:
            require(name in known or (name.isdecimal() and int(name) > 1), f"no labels: {name}")
        require(self.iterations is None or self.iterations > 0, "iterations must be above 0")
        require(self.data_towns is None or self.data_towns > 1, "data_towns must be above 1")
        require(self.threads > 0, "threads must be above 0")

    def run(self) -> None:
        """A row after the other, of each case."""
        torch.set_num_threads(self.threads)
        rows: list[dict[str, Any]] = []
        text = ""
        for name in self.labels:
            for case in self._located(name).cases():
                for column, values in self._columns(case):
                    rows += [{**v, "labels": name, "case": case.name, "by": column} for v in values]
                    text = f"{table(rows)}\n\n{self._note()}"
                    write_results(self.output, "paper_table", text, rows)
        print(text)

    def _columns(self, case: Case) -> Iterator[tuple[str, list[dict[str, Any]]]]:
        kind = self.locating.kinds[0]
        for column, method in _COLUMNS.items():
            yield column, case.rows(kind, method)
        yield _TRACKED, self._tracked(case)

    def _tracked(self, case: Case) -> list[dict[str, Any]]:
        """Errors of the particle filter at the images that are located, too."""
        path = case.settings.kept(
            "tracked",
            *(case.map_of, case.query_of, case.segmenter.checkpoint.fingerprint),
            *(case.map_settings(self.locating.kinds[0]), self.start, self.localizer, self.noise),
        ).with_suffix(".json")
        if not path.exists():
            with whole_file(path) as temporary:
                temporary.write_text(json.dumps(self._track(case)))
        rows: list[dict[str, Any]] = json.loads(path.read_text())
        return rows

    def _track(self, case: Case) -> list[dict[str, Any]]:
        kind, truth = self.locating.kinds[0], case.truth()
        folder = case.map_folder(kind)
        semantic_map = load_map(folder)
        local = load_local_features(folder, semantic_map)
        labels = {stamp: label_map for stamp, _, label_map in case.seen(kind)}
        query = self._with_odometry(case.query, truth, np.array(list(labels)))
        run = localize(
            query,
            semantic_map,
            case.segmenter.checkpoint,
            self.start.initial(query, truth, np.random.default_rng(0)),
            self.localizer,
            labels=lambda frame: labels[frame.stamp],
        )
        errors = compare(run.trajectory, truth)
        at = zip(errors.stamps.tolist(), errors.position_m, errors.rotation_deg, strict=True)
        return [
            {"inliers": 1, "metres": float(metres), "degrees": float(degrees)}
            for stamp, metres, degrees in at
            if case.is_asked(stamp, truth, local)
        ]

    def _with_odometry(
        self, query: Recording, truth: Trajectory, stamps: NDArray[np.float64]
    ) -> Recording:
        """A recording; its odometry is derived from its poses if it has none."""
        if query.odometry is not None or not isinstance(query, FolderRecording):
            return query
        odometry, origin = derived_from(truth, self.noise, 0, stamps, query.name)
        return replace(query, odometry=odometry, odometry_origin=origin)

    def _located(self, name: str) -> Locating:
        """The single images of a row."""
        return replace(
            self.locating, checkpoint=self._network(name), work=self.work, threads=self.threads
        )

    def _network(self, name: str) -> Path:
        if name == PACKAGED:
            return PACKAGED_CHECKPOINT
        if name == CLASSES:
            return self._trained(_CLASSES_VARIANT)
        return self._trained(Variant("", f"{name} labels", {"label_count": int(name)}))

    def _trained(self, variant: Variant) -> Path:
        common: dict[str, object] = {"threads": self.threads}
        if self.iterations is not None:
            common["iterations"] = self.iterations
        settings = variant.settings(self._form, common, self._training, self._start_network)
        return self._trained_once(settings, "network")

    def _trained_once(self, settings: TrainSettings, kind: str) -> Path:
        init = settings.init.parent.name if settings.init else ""
        digest = digest_of(replace(settings, output=Path()).described(), init)
        return trained_once(replace(settings, output=self.work / f"{kind}-{digest}"))

    @property
    def _form(self) -> Form:
        return full_form() if self.full else small_form()

    @cached_property
    def _training(self) -> Path:
        form = self._form
        drives = replace(form.simulated, threads=self.threads)
        if self.data_towns is not None:
            drives = replace(drives, towns=self.data_towns, validation_towns=1)
        if self.data_length_m is not None:
            drives = replace(drives, length_m=self.data_length_m)
        source = self.data or simulated_data(self.work, drives)
        return training_folder(self.work, source, form.references)

    @cached_property
    def _start_network(self) -> Path:
        """The network that all trainings start from."""
        if self.init is not None:
            return self.init
        common: dict[str, object] = {"threads": self.threads, "freeze_batch_norm": False}
        common["architecture"] = recipe(self._form.training, {}, Path()).architecture
        settings = recipe(self._form.pretraining, common, self._training)
        return self._trained_once(settings, "pretrained")

    def _note(self) -> str:
        limits = " / ".join(f"{metres:g} m {degrees:g} deg" for metres, degrees in THRESHOLDS)
        return (
            f"Recall within {limits} [%], with 95 % intervals (Wilson's, of images taken as "
            "independent); an image that is not located counts as wrong. PFSL is tracking: with "
            f"odometry, from a start {self.start.offset_m:g} m and {self.start.offset_deg:g} deg "
            "off, at the same images; its images depend on one another."
        )


def table(rows: list[dict[str, Any]]) -> str:
    """A row for each case and labels, a column for each way to the pose."""
    groups: dict[tuple[str, str], dict[str, list[dict[str, Any]]]] = {}
    for row in rows:
        columns = groups.setdefault((row["case"], row["labels"]), {})
        columns.setdefault(row["by"], []).append(row)
    return markdown_table(
        {
            "images of": case,
            "labels": labels,
            "images": str(len(next(iter(columns.values())))),
            **{name: _cell(columns.get(name)) for name in (*_COLUMNS, _TRACKED)},
        }
        for (case, labels), columns in sorted(groups.items(), key=lambda item: item[0][0])
    )


def _cell(group: list[dict[str, Any]] | None) -> str:
    if not group:
        return "not run"
    return " / ".join(recall(group, metres, degrees) for metres, degrees in THRESHOLDS)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    tyro.cli(PaperTable, description=__doc__, config=(tyro.conf.EnumChoicesFromValues,)).run()
