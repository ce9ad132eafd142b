"""Adding drives to a map: a street that it lacks, and one that was rebuilt, in other seasons.

    python benchmark/adding.py --work /tmp/adding --drives summer winter

Localizes a drive that is not added on the map before and after each drive that is.

- **longer**: the map is of the first half of `summer`; `winter`, a simulated bag of the same way,
  is added, and `summer` is localized on it. Its second half is new to the map.
- **rebuilt**: after a map was made in summer, the houses and gardens on one side of the street were
  replaced by others. These drives are rendered here; their images and all label maps are kept.
"""

import copy
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import cv2
import numpy as np
import tyro
from scoring import markdown_table, segmented_once, write_results

from fgsn_ros.commands.adding import AddedRecording, add_recording
from fgsn_ros.commands.demo import PACKAGED_CHECKPOINT
from fgsn_ros.commands.start import Start
from fgsn_ros.config import require
from fgsn_ros.evaluation.trajectory_errors import compare
from fgsn_ros.geometry import poses
from fgsn_ros.geometry.cameras import CameraMount
from fgsn_ros.geometry.trajectory import Trajectory
from fgsn_ros.localization.initial_pose import InitialPose
from fgsn_ros.localization.localizer import Estimate, LocalizerSettings
from fgsn_ros.localization.online import OnlineLocalizer
from fgsn_ros.localization.pipeline import Labels, localize
from fgsn_ros.localization.tracking import TrackingStatus
from fgsn_ros.mapping.builder import MapSettings, write_map
from fgsn_ros.mapping.feature_builder import LocalFeatureSettings
from fgsn_ros.mapping.map_files import load_map
from fgsn_ros.mapping.sfm.recording_poses import WithPoses
from fgsn_ros.outputs import Layout, whole_folder
from fgsn_ros.recordings.open import open_recording
from fgsn_ros.recordings.recording import Frame, Recording
from fgsn_ros.segmentation.checkpoint import load_checkpoint
from fgsn_ros.segmentation.segmenter import Segmenter
from fgsn_ros.simulation.drive import CAMERA, DriveSettings, SimulatedDrive
from fgsn_ros.simulation.seasons import Season
from fgsn_ros.simulation.world import _TownBuilder

_SIZE = {"width": 448, "height": 336}
_SPEED = {"min_speed": 8.0, "max_speed": 10.0, "stops": False}
_IMAGES = Layout("made.txt", "adding", ("*.png",))


class _Rebuilder(_TownBuilder):
    """Builds a town whose houses and gardens on the right of its street are others."""

    def _lots(self, side: float) -> None:
        if side > 0.0:
            super()._lots(side)
            return
        # What is drawn afterwards, and so the rest of the town, is as it was.
        before = copy.deepcopy(self)
        _TownBuilder._lots(before, side)
        self.rng = np.random.default_rng([self.seed, 0x71])
        super()._lots(side)
        self.rng = before.rng


@dataclass(frozen=True, eq=False)
class KeptDrive:
    """A simulated drive whose images are rendered once and kept."""

    drive: SimulatedDrive
    folder: Path

    @cached_property
    def _images(self) -> Path:
        if not self.folder.exists():
            with whole_folder(self.folder, _IMAGES) as folder:
                for number, frame in enumerate(self.drive.frames()):
                    cv2.imwrite(str(folder / f"{number:05d}.png"), frame.image[..., ::-1])
                (folder / "made.txt").write_text("by benchmark/adding.py\n")
        return self.folder

    def frames(self) -> Iterator[Frame]:
        """The drive's frames."""
        for number, stamp in enumerate(self.drive.frame_stamps):
            image = cv2.imread(str(self._images / f"{number:05d}.png"))[..., ::-1]
            yield Frame(float(stamp), CAMERA, np.ascontiguousarray(image))

    @property
    def name(self) -> str:
        """The drive's."""
        return self.drive.name

    @property
    def cameras(self) -> Mapping[str, CameraMount]:
        """The drive's."""
        return self.drive.cameras

    @property
    def odometry(self) -> Trajectory:
        """The drive's."""
        return self.drive.odometry

    @property
    def odometry_origin(self) -> str:
        """The drive's."""
        return self.drive.odometry_origin

    @property
    def ground_truth(self) -> Trajectory:
        """The drive's."""
        return self.drive.ground_truth

    @property
    def frame_count(self) -> int:
        """The drive's."""
        return self.drive.frame_count


@dataclass(frozen=True)
class Adding:
    """Add drives to maps, and localize others before and after."""

    work: Path = Path("benchmark/work/adding")
    """folder that keeps images, label maps and maps"""
    drives: tuple[Path, ...] = ()
    """two simulated bags of one way: the mapped and the added one; without them only the rebuilt"""
    output: Path = Path("benchmark/results")
    """folder of adding.md and adding.json"""
    town: int = 701
    """seed of the rebuilt town, which the packaged network was not trained on"""
    seeds: int = 2
    """runs of the filter that each row is over"""
    threads: int = 0
    """threads for rendering, 0: all cores"""

    def __post_init__(self) -> None:
        """Check the ranges."""
        require(len(self.drives) in (0, 2), "drives must be two bags, or none")

    @cached_property
    def _segmenter(self) -> Segmenter:
        return Segmenter(load_checkpoint(PACKAGED_CHECKPOINT))

    def drive(self, season: Season, seed: int, seconds: float, rebuilt: bool = True) -> KeptDrive:
        """A drive in a season, through the rebuilt town or the one that it was."""
        settings = DriveSettings(
            self.town, season, seed, seconds, rate_hz=5.0, threads=self.threads, **_SIZE, **_SPEED
        )
        name = f"{'rebuilt' if rebuilt else 'town'}{self.town}-{season.value}-{seed}-{seconds:g}s"
        town = (_Rebuilder if rebuilt else _TownBuilder)(self.town).build()
        return KeptDrive(SimulatedDrive(settings, town), self.work / name)

    def run(self) -> None:
        """Print and write the tables."""
        self.work.mkdir(parents=True, exist_ok=True)
        longer = self._longer_rows() if self.drives else ()
        rows = [*longer, *self._rebuilt_rows()]
        text = markdown_table(rows)
        print(text)
        write_results(self.output, "adding", text, rows)

    def _longer_rows(self) -> Iterator[dict[str, str]]:
        mapped, other = (open_recording(path) for path in self.drives)
        truth = mapped.ground_truth
        assert truth is not None
        middle = float(truth.stamps[0] + truth.stamps[-1]) / 2.0
        first = WithPoses(mapped, truth.between(float(truth.stamps[0]), middle))
        spans = {
            "first half": (-np.inf, middle),
            "second half": (middle, np.inf),
        }
        yield from self._rows("longer", first, mapped, [other], spans)

    def _rebuilt_rows(self) -> Iterator[dict[str, str]]:
        first = self.drive(Season.SUMMER, 1, 14.0, rebuilt=False)
        added = [self.drive(Season.AUTUMN, 4, 13.0), self.drive(Season.WINTER, 6, 13.0)]
        judged = self.drive(Season.WINTER, 5, 13.0)
        yield from self._rows("rebuilt", first, judged, added, {"all": (-np.inf, np.inf)})

    def _rows(
        self,
        what: str,
        mapped: Recording,
        judged: Recording,
        added: list[Recording],
        spans: Mapping[str, tuple[float, float]],
    ) -> Iterator[dict[str, str]]:
        """A row a map and a span of the judged drive: the first map, then one a drive added."""
        plain = MapSettings(local_features=LocalFeatureSettings(kind="none"))
        path, changed = self.work / f"{what}-0", None
        shutil.rmtree(path, ignore_errors=True)
        write_map(path, mapped, self._segmenter, plain)
        for number, recording in enumerate([None, *added]):
            if recording is not None:
                before, path = path, self.work / f"{what}-{number}"
                shutil.rmtree(path, ignore_errors=True)
                changed = self._added(path, before, recording, plain)
                _say_errors(recording, changed)
            for span, figures in self._judged(path, judged, spans).items():
                name = "the map" if recording is None else f"with {recording.name}"
                yield {"case": what, "map": name, "judged": span, **figures, **_told(changed)}

    def _labels(self, recording: Recording) -> Labels:
        cache = self.work / f"labels-{recording.name}.npz"
        return segmented_once(recording, self._segmenter, cache)

    def _added(
        self, path: Path, before: Path, recording: Recording, settings: MapSettings
    ) -> AddedRecording:
        T = _start(recording).T_map_base
        x, y, z = T[:3, 3].tolist()
        yaw_deg = float(np.degrees(poses.to_rpy(T)[2]))
        start = Start(pose=(x, y, z, yaw_deg))
        labels = self._labels(recording)
        return add_recording(
            path, before, recording, self._segmenter, start, settings, labels=labels
        )

    def _judged(
        self, path: Path, recording: Recording, spans: Mapping[str, tuple[float, float]]
    ) -> dict[str, dict[str, str]]:
        """Errors of a drive localized on a map by several seeds, for each span of time."""
        runs = [self._localized(path, recording, seed) for seed in range(self.seeds)]
        stamps, position, sure = (np.concatenate(each) for each in zip(*runs, strict=True))
        figures = {}
        for name, (low, high) in spans.items():
            inside = (stamps >= low) & (stamps < high)
            figures[name] = {
                "median [m]": f"{np.median(position[inside]):.2f}",
                "95 % [m]": f"{np.percentile(position[inside], 95):.2f}",
                "tracked": f"{np.mean(sure[inside]):.0%}",
            }
        return figures

    def _localized(self, path: Path, recording: Recording, seed: int) -> tuple[np.ndarray, ...]:
        """Stamps (F,), position errors (F,) [m], and whether the pose counted as tracked (F,)."""
        tracking: dict[float, bool] = {}

        def keep(estimate: Estimate, online: OnlineLocalizer) -> None:
            tracking[estimate.stamp] = online.status == TrackingStatus.TRACKING

        run = localize(
            recording,
            load_map(path),
            self._segmenter.checkpoint,
            _start(recording),
            LocalizerSettings(random_seed=seed),
            labels=self._labels(recording),
            on_estimate=[keep],
        )
        assert recording.ground_truth is not None
        errors = compare(run.trajectory, recording.ground_truth)
        sure = np.array([tracking[float(stamp)] for stamp in errors.stamps])
        return errors.stamps, errors.position_m, sure


def _start(recording: Recording) -> InitialPose:
    """Where a simulated drive begins, known by a metre and four degrees."""
    assert recording.ground_truth is not None
    return InitialPose.around(recording.ground_truth.poses[0], 1.0, float(np.radians(4.0)))


def _told(changed: AddedRecording | None) -> dict[str, str]:
    names = "added", "merged", "confirmed", "contradicted", "replaced", "dropped", "after"
    if changed is None:
        return dict.fromkeys(names, "")
    return {name: str(getattr(changed.added, name)) for name in names}


def _say_errors(recording: Recording, changed: AddedRecording) -> None:
    """How far from the truth a drive was added, every twentieth frame of its way."""
    assert recording.ground_truth is not None
    errors = compare(changed.registered.trajectory, recording.ground_truth).position_m
    print(changed.text())
    print("error of the added poses [m]:", " ".join(f"{e:.2f}" for e in errors[::20]))


if __name__ == "__main__":
    tyro.cli(Adding, description=__doc__).run()
