"""COLMAP models and the files that place them, valid and damaged."""

import sys
from functools import cache
from pathlib import Path
from random import Random

import numpy as np

from fgsn_ros.geometry import poses
from fgsn_ros.geometry.similarity import Similarity, similarity_text
from fgsn_ros.mapping.colmap_map import open_colmap
from fuzzing.mutators import mutated_bytes, mutated_json, mutated_text
from fuzzing.oracle import Files

sys.path.append(str(Path(__file__).parents[2] / "shared"))
from made_colmap import MadeModel, binary_files, text_files

CAMERA = ["OPENCV", 64, 48, 50.0, 51.0, 32.0, 24.0, 0.01, 0.0, 0.0, 0.0]
IMAGES = 10


def _model() -> MadeModel:
    """Cameras in a row that look at a few points; two of a rig."""
    rng = np.random.default_rng(0)
    points = {i: rng.uniform([-1.0, -1.0, 4.0], [1.0, 1.0, 6.0]) for i in range(1, 9)}
    images = []
    for number in range(IMAGES):
        T = poses.from_xyz_rpy([0.1 * number, 0.02 * number**2, 0.0], np.zeros(3))
        seen = poses.transform(T, np.stack(list(points.values())))
        pixels = 50.0 * seen[:, :2] / seen[:, 2:] + [32.0, 24.0]
        images.append(
            {
                "number": number,
                "T_camera_world": T,
                "camera": 1 + number % 2,
                "name": f"{number}.png",
                "pixels": pixels,
                "ids": np.array(list(points)),
            }
        )
    rigs = [[(1, None), (2, poses.from_xyz_rpy([0.1, 0.0, 0.0], np.zeros(3)))]]
    return MadeModel({1: CAMERA, 2: CAMERA}, images, points, rigs)


@cache
def colmap_models() -> list[Files]:
    """A model in both forms, each placed by a similarity, by GPS, and by itself."""
    images = {f"images/{number}.png": b"-" for number in range(IMAGES)}
    turned = Similarity(2.0, np.diag([1.0, -1.0, -1.0]), np.ones(3))
    gps = "".join(f"{n}.png 48.{n:02d} 9.{n * n:03d} {n}\n" for n in range(IMAGES))
    placed = (
        {"similarity.json": similarity_text(turned).encode()},
        {"similarity.txt": b"2 1 0 0 0 1 2 3\n"},
        {"gps.txt": gps.encode()},
        {},
    )
    forms = (text_files(_model()), binary_files(_model()))
    models = [{f"model/{name}": data for name, data in form.items()} for form in forms]
    return [model | images | by for model in models for by in placed]


def mutated_model(rng: Random, files: Files, seeds: list[Files]) -> Files:
    """A model with a damaged file, or without one."""
    name = rng.choice([name for name in files if not name.startswith("images/")])
    if rng.random() < 0.02:
        return {other: content for other, content in files.items() if other != name}
    other = rng.choice(list(rng.choice(seeds).values()))
    kinds = {".bin": mutated_bytes, ".txt": mutated_text, ".json": mutated_json}
    return files | {name: kinds[Path(name).suffix](rng, files[name], other)}


def read_model(folder: Path) -> None:
    """Read a model and place it in a map, as `map --colmap` does."""
    similarity = next(iter(folder.glob("similarity.*")), None)
    gps = folder / "gps.txt"
    made = open_colmap(
        folder / "model", folder / "images", similarity, gps if gps.is_file() else None
    )
    assert np.isfinite(made.images.ground_truth.poses).all()
    assert np.isfinite(made.points.points).all()
