from pathlib import Path

import cv2
import numpy as np
import pytest
from made_pairs import draw_scene, make_folder
from real_data import real_data

from fgsn_ros.correspondences.files import CorrespondenceFolder


@pytest.fixture(scope="session")
def folder(tmp_path_factory) -> CorrespondenceFolder:
    return make_folder(tmp_path_factory.mktemp("data") / "corr")


@pytest.fixture
def real_camvid() -> Path:
    return real_data("camvid")


@pytest.fixture
def camvid(tmp_path: Path) -> Path:
    """A folder in the SegNet form of CamVid, with one class id that is ignored."""
    rng = np.random.default_rng(6)
    for split, count in (("train", 3), ("val", 2)):
        (tmp_path / split).mkdir()
        (tmp_path / f"{split}annot").mkdir()
        lines = []
        for index in range(count):
            image, classes = draw_scene(rng)
            classes[:3, :3] = 11
            cv2.imwrite(str(tmp_path / split / f"{index}.jpg"), image[..., ::-1])
            cv2.imwrite(str(tmp_path / f"{split}annot" / f"{index}.png"), classes)
            lines.append(f"/some/{split}/{index}.png /some/{split}annot/{index}.png\n")
        (tmp_path / f"{split}.txt").write_text("".join(lines))
    return tmp_path
