"""From two raw recordings to a localized run, beside the same with true poses, by the commands.

    fgsn simulate drive --town-seed 801 --duration-s 35 --rate-hz 5 --no-stops --output summer
    fgsn simulate drive --town-seed 801 --season winter --drive-seed 2 --duration-s 35 --rate-hz 5 \
        --no-stops --output winter
    python benchmark/raw_chain.py summer winter --work /tmp/chain --iterations 200

Once with poses that `fgsn poses` makes, once with the bags' ground truth: correspondences of both
drives, a network trained on them from the packaged one, a map of the first drive, the second drive
localized on it. Made poses have a frame and, by the odometry, a scale of their own: the second
drive is judged by its true poses after the similarity that takes the first's true ones to the
made ones. What is in the folder is not made again. Prints a row a chain and writes them to
raw_chain.md and .json.

    python benchmark/raw_chain.py summer winter --work /tmp/chain --taught few.yaml

The rounds of `fgsn teach` with these settings of `fgsn train`, of drives that local features join
and of the same as if they did not: what the command says of each round without ground truth, and
what ground truth says. To taught.md and .json.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import tyro
from scoring import markdown_table, write_results

from fgsn_ros.cli import main
from fgsn_ros.commands.demo import PACKAGED_CHECKPOINT
from fgsn_ros.config import require
from fgsn_ros.correspondences.files import CorrespondenceFolder
from fgsn_ros.geometry.similarity import fitted
from fgsn_ros.geometry.trajectory import Trajectory, read_tum, write_tum
from fgsn_ros.recordings.open import open_recording
from fgsn_ros.recordings.recording import require_ground_truth

START_FROM = PACKAGED_CHECKPOINT.with_name("town.safetensors")
NETWORK = "checkpoint.safetensors"
NOT_JOINED = "--poses.joining.min-points", "10000"
PACKAGED, TRAINED = "packaged", "trained"


@dataclass(frozen=True)
class RawChain:
    """Map, train and localize by made poses and by true ones."""

    recordings: Annotated[tuple[Path, Path], tyro.conf.Positional]
    """simulated bags of one town: the one that is mapped, and the one that is localized"""
    work: Path
    """folder that keeps what each step makes"""
    iterations: int = 0
    """training steps on the correspondences; 0: the packaged network alone, without training"""
    seeds: int = 3
    """runs of the filter, each from another start, >= 1"""
    taught: Path | None = None
    """in place of the chains: settings of `fgsn train` (YAML) for the rounds of `fgsn teach`"""
    output: Path = Path("benchmark/results")
    """folder of the tables"""

    def __post_init__(self) -> None:
        """Check the ranges."""
        require(self.iterations >= 0 and self.seeds >= 1, "iterations >= 0, seeds >= 1")

    def run(self) -> None:
        """Make what is missing, and print and write the table."""
        self.work.mkdir(parents=True, exist_ok=True)
        truths = tuple(require_ground_truth(open_recording(path)) for path in self.recordings)
        if self.taught is not None:
            self._run_taught(self.taught, truths)
            return
        rows = []
        for chain in (self._made(truths), self._true(truths)):
            for network in (PACKAGED, TRAINED) if self.iterations else (PACKAGED,):
                rows.append(chain.row(network, self.iterations, self.seeds))
        table = markdown_table(rows)
        print(table)
        write_results(self.output, "raw_chain", table, {"rows": rows})

    def _run_taught(self, settings: Path, truths: tuple[Trajectory, ...]) -> None:
        rows = []
        for joined, flags in {"features": (), "labels": NOT_JOINED}.items():
            folder = self.work / f"taught_{joined}"
            given = [*map(str, self.recordings), "--train", str(settings), "--init"]
            _once(folder, "teach", *given, str(START_FROM), *flags)
            report = json.loads((folder / "report.json").read_text())
            for facts in report["rounds"]:
                kept = "yes" if facts["round"] == report["kept"] else "no"
                rows.append({**self._row_taught(folder, facts, truths), "kept": kept})
        table = markdown_table(rows)
        print(table)
        write_results(self.output, "taught", table, {"rows": rows})

    def _row_taught(
        self, folder: Path, facts: dict[str, Any], truths: tuple[Trajectory, ...]
    ) -> dict[str, str]:
        """Figures of a round, those without ground truth first."""
        number = facts["round"]
        poses = folder / f"{number - 1}" / "localized" if number else folder / "structure"
        if not number and (folder / "joined").exists():
            poses = folder / "joined" / "localized"
        names = [open_recording(path).name for path in self.recordings]
        made = [read_tum(poses / f"{name}.tum") for name in names]
        truth = _moved(truths, made[0])
        stamps = made[1].stamps[truth.covered(made[1].stamps)]
        error = np.linalg.norm((made[1].at(stamps) - truth.at(stamps))[:, :3, 3], axis=1)
        files = tuple(poses / f"{name}.tum" for name in names)
        chain = _Chain(facts["poses"], folder / f"judged_{number}", self.recordings, files, truth)
        chain.folder.mkdir(exist_ok=True)
        this = folder / str(number)
        found = chain.localized(this / "map", this / "network" / NETWORK, TRAINED, self.seeds)
        return {
            "round": str(number),
            "poses": facts["poses"],
            "pairs": str(facts["pairs"]),
            "held out": str(facts["held_out"]),
            "points that meet": f"{facts['meeting']:.1%}",
            "information [nat]": f"{facts['information']:.3f}",
            "poses: median [m]": f"{np.median(error):.3f}",
            "poses: 95 % [m]": f"{np.percentile(error, 95):.3f}",
            **{name: f"{value:.3f}" for name, value in found.items()},
        }

    def _made(self, truths: tuple[Trajectory, ...]) -> "_Chain":
        folder = self.work / "made"
        names = tuple(open_recording(path).name for path in self.recordings)
        _once(folder / "poses", "poses", *map(str, self.recordings))
        files = tuple(folder / "poses" / f"{name}.tum" for name in names)
        return _Chain("made", folder, self.recordings, files, _moved(truths, read_tum(files[0])))

    def _true(self, truths: tuple[Trajectory, ...]) -> "_Chain":
        folder = self.work / "true"
        folder.mkdir(exist_ok=True)
        files = tuple(folder / f"{number}.tum" for number in range(2))
        for file, truth in zip(files, truths, strict=True):
            write_tum(file, truth)
        return _Chain("true", folder, self.recordings, files, truths[1])


@dataclass(frozen=True, eq=False)
class _Chain:
    name: str
    folder: Path
    recordings: tuple[Path, Path]
    poses: tuple[Path, ...]
    truth: Trajectory
    """of the localized drive, in the map's frame"""

    def row(self, network: str, iterations: int, seeds: int) -> dict[str, str]:
        """Figures of the chain with a network."""
        checkpoint, pairs = PACKAGED_CHECKPOINT, "-"
        if network == TRAINED:
            checkpoint, pairs = self._trained(iterations)
        made = self.folder / f"map_{network}"
        map_of = [str(self.recordings[0]), "--recording.poses", str(self.poses[0])]
        _once(made, "map", *map_of, "--checkpoint", str(checkpoint), *NO_FEATURES)
        errors = self.localized(made, checkpoint, network, seeds)
        points = json.loads((made / "meta.json").read_text())["point_count"]
        return {
            "poses": self.name,
            "network": network,
            "pairs": pairs,
            "map points": str(points),
            **{name: f"{value:.3f}" for name, value in errors.items()},
        }

    def _trained(self, iterations: int) -> tuple[Path, str]:
        given = [flag for file in self.poses for flag in ("--poses", str(file))]
        pairs = self.folder / "pairs"
        _once(pairs, "correspondences", *map(str, self.recordings), *given)
        network = self.folder / f"network_{iterations}"
        steps = [
            "--iterations",
            str(iterations),
            "--clustering.every",
            str(max(iterations // 2, 1)),
        ]
        given = ["--data", str(pairs), "--init", str(START_FROM), *steps]
        _once(network, "train", "--config", "config/train.yaml", *given)
        count = len(CorrespondenceFolder(pairs).train_files())
        return network / NETWORK, str(count)

    def localized(self, made: Path, checkpoint: Path, network: str, seeds: int) -> dict[str, float]:
        """Errors on a map, means of the runs."""
        scores = [self._localized(made, checkpoint, network, seed) for seed in range(seeds)]
        return {name: float(np.mean([score[name] for score in scores])) for name in scores[0]}

    def _localized(self, made: Path, checkpoint: Path, network: str, seed: int) -> dict[str, float]:
        reference = self.folder / "reference.tum"
        write_tum(reference, self.truth)
        result = self.folder / f"result_{network}_{seed}"
        given = ["--map", str(made), "--checkpoint", str(checkpoint), "--no-bag"]
        given += [
            "--no-features",
            "--reference",
            str(reference),
            "--localizer.random-seed",
            str(seed),
            *START,
        ]
        _once(result, "localize", str(self.recordings[1]), *given)
        found = json.loads((result / "metrics.json").read_text())["localized"]
        errors = {name: found[key]["median"] for name, key in ERRORS.items()}
        return {**errors, "95 % [m]": found["position_m"]["p95"]}


NO_FEATURES = "--mapping.local-features.kind", "none"
START = "--start.offset-m", "2", "--start.offset-deg", "5", "--skip-s", "5"
ERRORS = {
    "position [m]": "position_m",
    "lateral [m]": "lateral_m",
    "longitudinal [m]": "longitudinal_m",
    "heading [deg]": "heading_deg",
}


def _once(output: Path, *command: str) -> None:
    """Run a command that makes a folder, unless it is there."""
    if output.exists():
        return
    output.parent.mkdir(parents=True, exist_ok=True)
    code = main([*command, "--output", str(output)])
    if code != 0:
        raise SystemExit(code)


def _moved(truths: tuple[Trajectory, ...], made: Trajectory) -> Trajectory:
    """True poses of the second drive in the frame, and at the scale, of the first's made ones."""
    at_stamps = truths[0].at(made.stamps[truths[0].covered(made.stamps)])
    own = made.poses[truths[0].covered(made.stamps), :3, 3]
    to_made = fitted(at_stamps[:, :3, 3], own)
    return truths[1].with_poses(to_made.poses(truths[1].poses))


if __name__ == "__main__":
    tyro.cli(RawChain, description=__doc__).run()
