"""GSMC beside a published implementation: the same matches, map points and labels, on one core.

    git clone https://github.com/vale9888/semantic-matching-for-long-term-visual-localization
    python benchmark/gsmc_speed.py --thesis semantic-matching-for-long-term-visual-localization \
        --locating.pair.map ... --locating.pair.query ...

The other is that of a master's thesis (V. Sgarbossa, Politecnico di Milano, CC0), its version for
CPUs (`GSMC_score`): circles of 360 poses, visibility by each point's ranges and directions, equal
labels counted. Both weigh the same matches of an image with the points around a place of the map;
the other takes seconds a match, so that it gets some of them, and both are timed on those. Beside
the time stands what it is for: how the scores of right matches rank among all (area under the ROC
curve; 0.5: by chance), a match being right within 8 pixels of where the true pose sees its point.
"""

import itertools
import sys
import time
from collections import namedtuple
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import tyro
from locating import Case, Locating
from numpy.typing import NDArray
from scipy.stats import mannwhitneyu
from scoring import markdown_table, write_results

from fgsn_ros.config import require
from fgsn_ros.geometry import poses
from fgsn_ros.geometry.cameras import CameraMount
from fgsn_ros.localization.measurement import PinholeGrid, evidence_table
from fgsn_ros.localization.pipeline import require_log_ratio
from fgsn_ros.locating.consistency import Circles
from fgsn_ros.locating.matching import Matcher, Matches, Seen
from fgsn_ros.mapping.local_features import load_local_features
from fgsn_ros.mapping.map_files import load_map
from fgsn_ros.mapping.map_records import MapPoints
from fgsn_ros.segmentation.labels import LabelMap

RIGHT_PX = 8.0
VIEW_ANGLE_DEG = 60.0
"""Both see points up to this angle from the direction that they were mapped from."""
_HEADING = np.pi
_IMAGE = 768, 1024
"""Height and width of the other's images."""
_Point = namedtuple("_Point", "xyz semantic_label dlow dup theta v image_ids")


@dataclass(frozen=True, eq=False)
class Query:
    """An image's matches, and what weighs them."""

    matches: Matches
    label_map: LabelMap
    mount: CameraMount
    T_map_camera: NDArray[np.float64]
    """(4, 4) true pose of the camera."""
    right: NDArray[np.bool_]
    """(N,) which matches are."""


@dataclass(frozen=True)
class GsmcSpeed:
    """Time both; print and write the table."""

    thesis: Path
    """clone of the other implementation"""
    output: Path = Path("benchmark/results")
    """folder of gsmc_speed.md and gsmc_speed.json"""
    images: int = 4
    """images, evenly over the query, >= 1"""
    matches: int = 25
    """of each, >= 2"""
    radius_m: float = 40.0
    """both see the map's points so near to the camera [m], > 0"""
    locating: Locating = field(default_factory=lambda: Locating(place_known=True))
    """recordings and settings; method and output are not used"""

    def __post_init__(self) -> None:
        """Check the ranges."""
        require(self.images >= 1 and self.matches >= 2, "images must be >= 1, matches >= 2")
        require(self.radius_m > 0.0, "radius_m must be above 0")

    def run(self) -> None:
        """Weigh the matches of some images by both."""
        score = published(self.thesis)
        rows: list[dict[str, Any]] = []
        for case in self.locating.cases():
            for query, circles, points in self._queries(case):
                rows += [_timed("this package", query, ours(circles))]
                rows += [_timed("thesis", query, theirs(score, points))]
        text = table(rows)
        write_results(self.output, "gsmc_speed", text, rows)
        print(text)

    def _queries(self, case: Case) -> Iterator[tuple[Query, Circles, MapPoints]]:
        kind = self.locating.kinds[0]
        folder = case.map_folder(kind)
        semantic_map = load_map(folder).in_memory()
        local = load_local_features(folder, semantic_map)
        consistency = self.locating.locator.consistency
        log_ratio = require_log_ratio(case.segmenter.checkpoint)
        evidence = evidence_table(semantic_map, log_ratio, consistency.outlier_share)
        positions = local.T_map_camera[:, :3, 3]
        circles = Circles(semantic_map, evidence, positions, consistency.geometric)
        matcher = Matcher(local, self.locating.locator.matching)
        mount = next(iter(case.query.cameras.values()))
        truth = case.truth()
        seen = [each for each in case.seen(kind) if case.is_asked(each[0], truth, local)]
        for k in np.linspace(0, len(seen) - 1, self.images).astype(int):
            stamp, features, label_map = seen[k]
            T = poses.compose(truth.at(stamp), mount.T_base_camera)
            nearest = np.linalg.norm(positions - T[:3, 3], axis=1).argmin()
            found = matcher.matches(
                Seen.of(features, mount.camera, label_map),
                local.T_map_camera[nearest],
                mount.camera,
            )
            chosen = np.random.default_rng(0).permutation(len(found))[: self.matches]
            found = _some(found, np.sort(chosen))
            errors, _ = found.sightings.residuals(T)
            right = np.linalg.norm(errors, axis=1) < RIGHT_PX
            yield (
                Query(found, label_map, mount, T, right),
                circles,
                semantic_map.points_near(T[:3, 3], self.radius_m),
            )


def _some(matches: Matches, chosen: NDArray[np.int64]) -> Matches:
    return Matches(matches.sightings[chosen], matches.points[chosen], matches.labels[chosen])


Scores = Callable[[Query], NDArray[np.float64]]


def ours(circles: Circles) -> Scores:
    """Scores (N,) of a query's matches by this package."""
    return lambda query: circles.scores(query.matches, query.label_map, query.mount)


def theirs(score: Callable[..., tuple[Any, ...]], points: MapPoints) -> Scores:
    """Scores (N,) by the other implementation: equal labels at the best of 360 poses."""

    def scores(query: Query) -> NDArray[np.float64]:
        # Its rotations are right for headings of one half of the circle: the map is turned there.
        forward = query.T_map_camera[:3, 2]
        turn = poses.from_planar(0.0, 0.0, _HEADING - np.arctan2(forward[1], forward[0]))[:3, :3]
        clouds = (_cloud(points, turn), _cloud(query.matches.points, turn))
        cloud = dict(enumerate(itertools.chain(*clouds)))
        pinhole = PinholeGrid(query.mount.camera, query.label_map.stride)
        camera = pinhole.camera  # its pixels are cells of the label map
        K = np.array([[camera.fx, 0, camera.cx], [0, camera.fy, camera.cy], [0, 0, 1]])
        grid = pinhole.labels(query.label_map, query.label_map.label_count)
        mask = np.full(_IMAGE, -1)
        mask[: camera.height, : camera.width] = grid
        # Down in the camera; where that has no part along x, the other turns images by 90 deg.
        down = query.T_map_camera[:3, :3].T @ np.array([0.0, 0.0, -1.0]) + np.array([2e-3, 0, 0])
        pixels = query.matches.sightings.rays @ K[:2, :2].T + K[:2, 2]
        settings = {"slicepath": "", "z0": query.T_map_camera[2, 3], "exact_filtering": False}
        return np.array(
            [
                score(pixel, key, cloud, down, K, np.zeros(4), mask, **settings)[0]
                for key, pixel in enumerate(pixels, len(points))
            ],
            float,
        )

    return scores


def published(thesis: Path) -> Callable[..., tuple[Any, ...]]:
    """The other implementation's score of a match."""
    sys.path.insert(0, str(thesis))
    score: Callable[..., tuple[Any, ...]] = import_module("GSMC.gsmc").GSMC_score
    return score


def _cloud(points: MapPoints, turn: NDArray[np.float64]) -> list[_Point]:
    angle = 2.0 * np.radians(VIEW_ANGLE_DEG)
    columns = zip(
        points.points.astype(float) @ turn.T,
        points.labels.astype(int),
        points.min_range.astype(float),
        points.max_range.astype(float),
        -points.directions.astype(float) @ turn.T,  # from the point to the cameras
        strict=True,
    )
    return [_Point(xyz, label, low, up, angle, v, ()) for xyz, label, low, up, v in columns]


def _timed(name: str, query: Query, scores: Scores) -> dict[str, Any]:
    start = time.process_time()
    found = scores(query)
    seconds = time.process_time() - start
    right, wrong = found[query.right], found[~query.right]
    area = np.nan
    if min(len(right), len(wrong)) > 0:
        area = float(mannwhitneyu(right, wrong).statistic) / (len(right) * len(wrong))
    return {"by": name, "matches": len(found), "seconds": seconds, "area": area}


def table(rows: list[dict[str, Any]]) -> str:
    """A row for each implementation."""
    names = list(dict.fromkeys(row["by"] for row in rows))
    took = {n: np.array([r["seconds"] / r["matches"] for r in rows if r["by"] == n]) for n in names}
    return markdown_table(
        {
            "by": name,
            "images": str(len(took[name])),
            "CPU time of a match, median [ms]": f"{1e3 * np.median(took[name]):.3g}",
            "of the first row's": f"{np.median(took[name] / took[names[0]]):.3g}",
            "right above wrong": f"{np.nanmean([r['area'] for r in rows if r['by'] == name]):.2f}",
        }
        for name in names
    )


if __name__ == "__main__":
    tyro.cli(GsmcSpeed, description=__doc__, config=(tyro.conf.EnumChoicesFromValues,)).run()
