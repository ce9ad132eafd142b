"""The questions of the FGSN paper (Larsson et al., ICCV 2019, section 4) as variants of one run."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from fgsn_ros.config import load_yaml, override
from fgsn_ros.correspondences.simulated import CorrespondenceDriveSettings
from fgsn_ros.simulation.seasons import Season
from fgsn_ros.training.settings import TrainSettings

Values = Mapping[str, object]
_CONFIG = Path(__file__).parents[1] / "config"
_WINTER_AND_NIGHT = (Season.WINTER, Season.NIGHT)


@dataclass(frozen=True)
class Form:
    """How large the experiments are."""

    seeds: int
    towns: tuple[int, ...]
    """seeds of the localized towns"""
    seasons: tuple[Season, ...]
    """of the localized drives"""
    duration_s: float
    """length of the localized drives [s]"""
    map_spacing_m: float
    """distance of a map's labelled images [m]"""
    every: int
    """every so many frames of a drive are localized"""
    simulated: CorrespondenceDriveSettings
    """correspondences of the other towns, where no data are given"""
    own: CorrespondenceDriveSettings
    """correspondences of the localized towns; towns and their number are set"""
    references: int
    """reference images that are trained on, spread over the data"""
    held_out: int
    """pairs that labels are judged on"""
    pretraining: Values
    """changes to the default TrainSettings"""
    training: Values
    """changes to the default TrainSettings"""


@dataclass(frozen=True)
class Variant:
    """An answer to one of the questions."""

    group: str
    """the question"""
    name: str
    changes: Values = field(default_factory=dict)
    """of the form's training settings"""
    start: Literal["segmentation", "classification", "nothing"] = "segmentation"
    own_streets: bool = False
    """train on the localized streets instead of on other towns"""
    clusterings: int = 2

    def settings(self, form: Form, common: Values, data: Path, init: Path | None) -> TrainSettings:
        """The run, of which output and seed are still to be set.

        Without pretraining, its steps are trained too: all variants see as many.

        Args:
            form: Gives the recipe.
            common: Changes of the recipe for all variants.
            data: Folder to train on.
            init: Weights to start from.
        """
        settings = recipe(form.training, common, data)
        settings = override(settings, dict(self.changes), self.name)
        steps = settings.iterations
        if self.start == "nothing":
            steps += recipe(form.pretraining, {}, data).iterations
        every = max(1, steps // self.clusterings)
        # only of a whole network: where the trunk alone is given, the head's are random
        frozen = settings.freeze_batch_norm and self.start == "segmentation"
        # crops instead of pairs of crops
        batch_size = settings.batch_size * (2 if settings.objective == "semantic" else 1)
        return replace(
            settings,
            batch_size=max(batch_size, 1 if frozen else 2),
            init=init,
            iterations=steps,
            validate_every=min(settings.validate_every, steps),
            freeze_batch_norm=frozen,
            clustering=replace(settings.clustering, every=every),
        )


def recipe(values: Values, common: Values, data: Path) -> TrainSettings:
    """Training settings on `data`, of which the output is still to be set."""
    settings = override(TrainSettings(data, Path()), dict(values), "recipe")
    return override(settings, dict(common), "settings")


_LABELS, _START, _PAIRS = "number of labels", "pretraining", "correspondences"
_STREETS, _CLUSTERING = "training data", "re-clustering"
_SEMANTIC: Values = {"objective": "semantic", "class_weights": True}
_CROSS_SEASON: Values = {
    "objective": "cross-season",
    "class_weights": True,
    "loss": {"alike": "classes"},
}


def _last_layer(kind: str) -> Values:
    return {"clustering": {"last_layer": kind}}


VARIANTS = (
    Variant(_LABELS, "semantic classes", _SEMANTIC),
    Variant(_LABELS, "semantic classes, with correspondences", _CROSS_SEASON),
    Variant(_LABELS, "20 labels", {"label_count": 20}),
    Variant(_LABELS, "100 labels"),
    Variant(_LABELS, "200 labels", {"label_count": 200}),
    Variant(_LABELS, "1000 labels", {"label_count": 1000}),
    Variant(_START, "segmentation"),
    Variant(_START, "classification", start="classification"),
    Variant(_START, "none", start="nothing"),
    Variant(_PAIRS, "with"),
    Variant(_PAIRS, "without (L_class alone)", {"loss": {"on_correspondence": 0.0}}),
    Variant(_STREETS, "other towns"),
    Variant(_STREETS, "the localized streets", own_streets=True),
    Variant(_CLUSTERING, "none", _last_layer("centres"), clusterings=1),
    Variant(_CLUSTERING, "last layer reset to the centres", _last_layer("centres")),
    Variant(_CLUSTERING, "last layer reset to random", _last_layer("random")),
    Variant(_CLUSTERING, "last layer kept, labels matched", _last_layer("kept")),
)
"""Rows of the table. Those that say the same in other words are run once."""


def small_form() -> Form:
    """At most three hours on two cores."""
    crops: Values = {"crop_height": 256, "crop_width": 256, "workers": 1}
    return Form(
        seeds=2,
        towns=(9001, 9002),
        seasons=_WINTER_AND_NIGHT,
        duration_s=20.0,
        map_spacing_m=1.5,
        every=4,
        simulated=CorrespondenceDriveSettings(
            towns=8, validation_towns=2, length_m=80.0, spacing_m=5.0, offset_m=7.5
        ),
        own=CorrespondenceDriveSettings(length_m=600.0, spacing_m=12.0, offset_m=7.5),
        references=100,
        held_out=60,
        pretraining={
            **load_yaml(_CONFIG / "train_classes.yaml"),
            **crops,
            "iterations": 400,
            "batch_size": 4,
            "validate_every": 400,
        },
        training={
            **load_yaml(_CONFIG / "train.yaml"),
            **crops,
            "iterations": 100,
            "batch_size": 2,
            "clustering": {"images": 50, "pca_dimensions": 64, "last_layer": "centres"},
        },
    )


def full_form() -> Form:
    """The published recipe for some days of a GPU."""
    return Form(
        seeds=5,
        towns=(9001, 9002, 9003, 9004, 9005),
        seasons=(Season.AUTUMN, Season.WINTER, Season.NIGHT, Season.RAIN),
        duration_s=60.0,
        map_spacing_m=0.5,
        every=1,
        simulated=CorrespondenceDriveSettings(towns=40, validation_towns=4, length_m=300.0),
        own=CorrespondenceDriveSettings(length_m=600.0, spacing_m=4.5),
        references=2000,
        held_out=500,
        pretraining={
            "objective": "semantic",
            "architecture": "pspnet_resnet101",
            "iterations": 20_000,
            "batch_size": 8,
            "scale_min": 0.5,
            "scale_max": 2.0,
            "flip_share": 0.5,
            "photometric": True,
            "class_weights": True,
            "precision": "bfloat16",
            "workers": 8,
            "optimizer": {"learning_rate": 1e-2, "power": 0.9, "warm_up": 0.02},
        },
        training={
            "architecture": "pspnet_resnet101",
            "iterations": 20_000,
            "photometric": True,
            "precision": "bfloat16",
            "workers": 8,
        },
    )
