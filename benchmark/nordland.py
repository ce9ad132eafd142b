"""Nordland: do labels keep from summer to winter dusk, before and after training?

    python benchmark/nordland.py --init camvid/checkpoint.safetensors --work /tmp/nordland

Frames from a train's cab, in pairs of one place, are aligned (nordland_alignment.py) and written as
correspondences. The drive is cut in two; each half in turn is trained on, and the other held out.
"Before" are clusters of the start network's features, "after" is training from the same clusters.
Consistency is the share of corresponding cells with one label. Few labels, or one on most cells,
would agree by chance: that, their entropy and a match's information stand beside it. Writes
nordland.md, .json and .png.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
import tyro
import yaml
from experiment_runs import trained_once
from nordland_alignment import SIZE, Alignment, align
from numpy.typing import NDArray
from scoring import markdown_table, write_results
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from fgsn_ros.config import load_yaml, override, require
from fgsn_ros.correspondences.files import (
    Correspondence,
    CorrespondenceFolder,
    file_name,
    write_correspondence,
    write_list,
)
from fgsn_ros.correspondences.images import ImageCache
from fgsn_ros.correspondences.sets import (
    Pair,
    read_correspondence_set,
    training_pairs,
    validation_pairs,
)
from fgsn_ros.errors import RecordingError
from fgsn_ros.outputs import Layout, whole_file, whole_folder
from fgsn_ros.segmentation.checkpoint import load_checkpoint
from fgsn_ros.segmentation.labels import outlined_overlay
from fgsn_ros.segmentation.networks import STRIDE
from fgsn_ros.segmentation.segmenter import Segmenter, SegmenterSettings
from fgsn_ros.training.settings import TrainSettings
from fgsn_ros.training.statistics import label_pairs, log_ratio

RECIPE = Path(__file__).parent.parent / "config" / "train.yaml"
_LAYOUT = Layout("alignment.json", "", ("*",))
SEASONS = ("summer", "winter")
HALVES = ("first", "second")
IMAGE_SIZE = (640, 360)  # width and height of the written images [px]
COLUMNS = (
    ("consistency", "%", "held out", "consistency"),
    ("by chance", "%", "held out", "chance"),
    ("information", "nats", "held out", "information"),
    ("entropy", "nats", "held out", "entropy"),
    ("used", "labels", "held out", "used_labels"),
    ("consistency where trained", "%", "trained on", "consistency"),
)  # name, unit, pairs and figure of the table's columns
BEFORE, CLASS_ALONE, AFTER = "before", "after, L_class alone", "after"
CHANGES: dict[str, dict[str, object]] = {
    BEFORE: {"iterations": 1, "optimizer": {"learning_rate": 1e-12}},  # clusters, and no more
    CLASS_ALONE: {"loss": {"on_correspondence": 0.0}},
    AFTER: {},
}  # of the recipe, by the name of the labels
VARIANTS = ((100, BEFORE), (100, CLASS_ALONE), (100, AFTER), (20, BEFORE), (20, AFTER))

Image = NDArray[np.uint8]
Values = dict[str, Any]


@dataclass(frozen=True)
class Nordland:
    """Align Nordland's pairs, train on a half of them, judge the labels on the other."""

    init: Path
    """checkpoint of a network trained on street classes"""
    data: Path = Path("../shared/data/nordland_pairs")
    """folder with summer/ and winter/: frames (16:9) of the same names, in the drive's order"""
    output: Path = Path("benchmark/results")
    """folder of nordland.md, .json and .png"""
    work: Path = Path("benchmark/work/nordland")
    """keeps the aligned pairs and the runs; remove it after a change of the code"""
    seeds: tuple[int, ...] = (0, 1, 2)
    """of clustering and training"""
    iterations: int = 80
    """steps of training, > 0"""
    validate_every: int = 20
    """steps between the points of the curve, > 0"""
    threads: int = 1
    """CPU threads, > 0"""

    def __post_init__(self) -> None:
        """Check what the training's settings do not."""
        require(len(self.seeds) > 0, "give a seed")

    def run(self) -> None:
        """Align, train, judge; print and write the tables."""
        torch.set_num_threads(self.threads)
        cv2.setNumThreads(self.threads)
        folder = self.work / "pairs"
        if not folder.exists():
            write_pairs(self.data, folder)
        count = load_checkpoint(self.init).label_count
        rows = [self._judged(count, "classes of the start", 0, h, self.init) for h in HALVES]
        for (count, name), seed, half in product(VARIANTS, self.seeds, HALVES):
            print(f"{count} labels, {name}, seed {seed}, {half} half")
            settings = self._settings(count, name, seed, half)
            row = self._judged(count, name, seed, half, trained_once(settings))
            rows.append(row | {"curve": curve(settings.output)})
        alignment = json.loads((folder / "alignment.json").read_text())
        text = "\n\n".join([table(rows), curve_table(rows), alignment_table(alignment)])
        print(text)
        write_results(self.output, "nordland", text, {"alignment": alignment, "runs": rows})
        self._write_picture()

    def _settings(self, count: int, name: str, seed: int, half: str) -> TrainSettings:
        """Of the run that trains on a half."""
        start = load_checkpoint(self.init).fingerprint[:8]
        kind = f"{count}-{name.replace(', ', '-').replace(' ', '-')}"
        output = self.work / "runs" / f"{kind}-{half}-seed{seed}-{self.iterations}-{start}"
        settings = TrainSettings(self.work / "pairs" / f"{half}.yaml", output, init=self.init)
        settings = override(settings, load_yaml(RECIPE), RECIPE.name)
        settings = replace(
            settings,
            label_count=count,
            iterations=self.iterations,
            validate_every=self.validate_every,
            # of few images, all features: as many as cells
            clustering=replace(settings.clustering, features_per_image=3600),
            threads=self.threads,
            workers=0,
            device="cpu",
            seed=seed,
        )
        return override(settings, CHANGES[name], name)

    def _judged(self, count: int, name: str, seed: int, half: str, path: Path) -> Values:
        """Figures of a checkpoint on the half it was not trained on, and on the other."""
        held_out, trained_on = (judged(path, pairs) for pairs in self._pairs(half))
        figures = {"held out": held_out, "trained on": trained_on}
        return {"K": count, "labels": name, "seed": seed, "trained half": half, **figures}

    def _pairs(self, half: str) -> tuple[tuple[Pair, ...], tuple[Pair, ...]]:
        """Those held out when a half is trained on, and those of the half."""
        sets = (read_correspondence_set(self.work / "pairs" / f"{half}.yaml"),)
        return validation_pairs(sets), training_pairs(sets)

    def _write_picture(self) -> None:
        """A held-out pair of each half: images, then 100 labels of each kind."""
        columns = []
        for held_out, half in ((self._pairs(half)[0], half) for half in HALVES):
            pair = held_out[len(held_out) // 2]
            images = [ImageCache(0).colour(path) for path in (pair.reference, pair.target)]
            rows = [[images[0], np.uint8(255.0 * np.sqrt(images[1] / 255.0))]]  # dusk made brighter
            for name in CHANGES:
                settings = self._settings(100, name, self.seeds[0], half)
                segmenter = segmenter_of(settings.checkpoint)
                rows.append([outlined_overlay(i, segmenter.segment(i), 0.7) for i in images])
            columns.append(np.vstack([np.hstack(row) for row in rows]))
        with whole_file(self.output / "nordland.png") as temporary:
            cv2.imwrite(str(temporary), np.hstack(columns)[..., ::-1])


def write_pairs(data: Path, path: Path) -> None:
    """Align the pairs of `data` and write them as correspondences, with lists of both halves.

    Raises:
        RecordingError: there are fewer than four pairs, or a frame cannot be read.
    """
    summer, winter = ({p.name for p in (data / season).glob("*")} for season in SEASONS)
    names = sorted(summer & winter)
    if len(names) < 4:
        raise RecordingError(f"{data} has {len(names)} pairs in summer/ and winter/; name another")
    whole, small = ImageCache(0), ImageCache(0, IMAGE_SIZE[1])
    with whole_folder(path, _LAYOUT) as temporary:
        folder, files, figures = CorrespondenceFolder(temporary), [], {}
        for season in SEASONS:
            (folder.images / season).mkdir(parents=True)
        for number, name in enumerate(names):
            print(f"aligning {name}")
            frames = [data / season / name for season in SEASONS]
            aligned = align(*(cv2.cvtColor(whole.colour(f), cv2.COLOR_RGB2GRAY) for f in frames))
            images = [f"{season}/{Path(name).stem}.png" for season in SEASONS]
            for image, frame in zip(images, frames, strict=True):
                cv2.imwrite(str(folder.images / image), small.colour(frame)[..., ::-1])
            files.append(file_name(0, (0, 1), (number, number)))
            write_correspondence(folder.files / files[-1], _correspondence(images, aligned))
            figures[Path(name).stem] = _figures(aligned)
        _write_halves(temporary, files)
        (temporary / "alignment.json").write_text(json.dumps(figures, indent=1))


def _correspondence(images: Sequence[str], aligned: Alignment) -> Correspondence:
    """Its distance is the closing error in cells."""
    scale = IMAGE_SIZE[0] / SIZE[0]
    points = [(each + 0.5) * scale - 0.5 for each in (aligned.summer, aligned.winter)]
    return Correspondence(images[0], images[1], *points, aligned.closing_px * scale / STRIDE)


def _figures(aligned: Alignment) -> Values:
    """What the table says of a pair; lengths in written pixels."""
    scale = IMAGE_SIZE[0] / SIZE[0]
    corrected, closing = aligned.corrected_px * scale, aligned.closing_px * scale
    return {
        "points": len(closing),
        "shift of the far distance [px]": (aligned.geometry.shift * scale).round(1).tolist(),
        "closing error, 95 % [px]": round(float(np.percentile(closing, 95)), 1),
        "last correction, mean [px]": round(float(corrected.mean()), 1),
        "last correction, 95 % [px]": round(float(np.percentile(corrected, 95)), 1),
    }


def _write_halves(folder: Path, files: list[str]) -> None:
    """A set for each half that is trained on: neighbours in the drive stay together."""
    middle = (len(files) + 1) // 2
    parts = files[:middle], files[middle:]
    for half, other, part in zip(HALVES, HALVES[::-1], parts, strict=True):
        lists = {"train_list": f"{half}.txt", "validation_list": f"{other}.txt"}
        described = {"correspondences": "correspondence", "images": "images", **lists}
        (folder / f"{half}.yaml").write_text(yaml.safe_dump(described))
        write_list(folder / f"{half}.txt", part)


def segmenter_of(path: Path) -> Segmenter:
    """Of a checkpoint, with cells as in training."""
    return Segmenter(load_checkpoint(path), SegmenterSettings(stride=STRIDE, device="cpu"))


def judged(path: Path, pairs: tuple[Pair, ...]) -> dict[str, float]:
    """Figures of a checkpoint's labels on pairs.

    Chance is the consistency of labels that are as frequent but independent. Information is a
    match's mean log-ratio [nats], each pair under the table of the other ones.
    """
    counted = label_pairs(segmenter_of(path), pairs, ImageCache(100))
    total = counted.counts.sum(axis=0)
    told = 0.0
    for number, group in enumerate(counted.counts):
        others = np.delete(counted.counts, number, axis=0)
        told += float((group * log_ratio(others, counted.observed)).sum())
    return counted.summary() | {
        "chance": float(total.sum(axis=0) @ total.sum(axis=1) / total.sum() ** 2),
        "information": told / float(total.sum()),
    }


def curve(output: Path) -> dict[int, float]:
    """Held-out consistency by step of a run."""
    events = EventAccumulator(str(output / "tensorboard"))
    events.Reload()
    return {event.step: event.value for event in events.Scalars("validation/consistency")}


def table(rows: Sequence[Values]) -> str:
    """Mean of both halves, and standard deviation over the seeds."""
    lines = []
    for kind in dict.fromkeys((row["K"], row["labels"]) for row in rows):
        of_kind = [row for row in rows if (row["K"], row["labels"]) == kind]
        cells = {
            f"{name} [{unit}]": _cell(of_kind, part, figure, 100.0 if unit == "%" else 1.0)
            for name, unit, part, figure in COLUMNS
        }
        lines.append({"K": str(kind[0]), "labels": str(kind[1]), **cells})
    return markdown_table(lines)


def _cell(rows: Sequence[Values], part: str, figure: str, scale: float) -> str:
    by_seed: dict[object, list[float]] = {}
    for row in rows:
        by_seed.setdefault(row["seed"], []).append(scale * row[part][figure])
    means = [float(np.mean(values)) for values in by_seed.values()]
    deviation = f" ± {np.std(means, ddof=1):.2g}" if len(means) > 1 else ""
    return f"{np.mean(means):.3g}{deviation}"


def curve_table(rows: Sequence[Values]) -> str:
    """Held-out consistency [%] by step, mean of halves and seeds."""
    lines = []
    for kind in (each for each in VARIANTS if each[1] != BEFORE):
        curves = [row["curve"] for row in rows if (row["K"], row["labels"]) == kind]
        means = {step: 100.0 * np.mean([each[step] for each in curves]) for step in curves[0]}
        steps = {f"step {step}": f"{mean:.1f}" for step, mean in means.items()}
        lines.append({"K": str(kind[0]), "labels": kind[1]} | steps)
    return markdown_table(lines)


def alignment_table(figures: Mapping[str, Values]) -> str:
    """A row for each pair."""
    rows = ({"pair": name} | values for name, values in figures.items())
    return markdown_table({key: str(value) for key, value in row.items()} for row in rows)


if __name__ == "__main__":
    tyro.cli(Nordland, description=__doc__).run()
