"""Correspondences between images drawn by hand: what training and the reader of pairs test on."""

from pathlib import Path

import cv2
import numpy as np

from fgsn_ros.correspondences.files import (
    Correspondence,
    CorrespondenceFolder,
    file_name,
    write_correspondence,
    write_list,
)

HEIGHT, WIDTH, SHIFT = 64, 96, 5
TRAIN, VALIDATION = 6, 3


def draw_scene(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A sky, a road and two boxes, and their classes."""
    classes = np.zeros((HEIGHT, WIDTH), np.uint8)
    classes[HEIGHT // 2 :] = 1
    for left in rng.integers(0, WIDTH - 25, 2):
        classes[20:45, left : left + 24] = 2
    colours = np.array([[120, 180, 250], [90, 90, 90], [200, 80, 40]])
    image = colours[classes] + rng.normal(0, 8, (HEIGHT, WIDTH, 3))
    return np.clip(image, 0, 255).astype(np.uint8), classes


def make_folder(root: Path) -> CorrespondenceFolder:
    """Pairs whose target is the reference moved right by SHIFT pixels and made dark and blue."""
    folder = CorrespondenceFolder(root)
    for path in (folder.images, folder.files, folder.classes):
        path.mkdir(parents=True)
    rng = np.random.default_rng(5)
    names = [write_pair(folder, index, rng) for index in range(TRAIN + VALIDATION)]
    write_list(folder.root / "corr_train.txt", names[:TRAIN])
    write_list(folder.root / "corr_val.txt", names[TRAIN:])
    folder.write_class_names(("sky", "road", "building"))
    return folder


def write_pair(folder: CorrespondenceFolder, index: int, rng: np.random.Generator) -> str:
    image, classes = draw_scene(rng)
    moved = np.roll(image, SHIFT, axis=1) * np.array([0.4, 0.5, 0.8])
    for suffix, pixels, ids in (
        ("summer", image, classes),
        ("winter", moved.astype(np.uint8), np.roll(classes, SHIFT, axis=1)),
    ):
        name = f"{index}_{suffix}.png"
        cv2.imwrite(str(folder.images / name), pixels[..., ::-1])
        cv2.imwrite(str(folder.class_path(name)), ids)
    points = rng.uniform((0, 0), (WIDTH - SHIFT - 1, HEIGHT - 1), (60, 2))
    correspondence = Correspondence(
        reference_image=f"{index}_summer.png",
        target_image=f"{index}_winter.png",
        reference_points=points,
        target_points=points + np.array([SHIFT, 0.0]),
        distance=np.zeros(len(points)),
    )
    name = file_name(0, (0, 1), (index, index))
    write_correspondence(folder.files / name, correspondence)
    return name
