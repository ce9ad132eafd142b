from pathlib import Path

import numpy as np
import pytest

from fgsn_ros.correspondences.correspondence_sets import (
    CorrespondenceSet,
    read_correspondence_set,
    read_correspondence_sets,
)
from fgsn_ros.correspondences.files import Correspondence, write_correspondence
from fgsn_ros.correspondences.pairs import training_pairs
from fgsn_ros.errors import FgsnError, TrainingError

NAMES = [f"correspondence_slice{n}_run1_run2_c1_c{n}" for n in range(22, 25)]


def write_published(root: Path) -> Path:
    """Files, images and lists as the published sets have them; the folder of the .mat files."""
    files, images = root / "correspondence_data", root / "images"
    points = np.ones((2, 2))
    for name in NAMES:
        for image in (f"{name}/database/1.jpg", f"{name}/query/2.jpg"):
            (images / image).parent.mkdir(parents=True, exist_ok=True)
            (images / image).touch()
        reference, target = f"{name}/database/1.jpg", f"{name}/query/2.jpg"
        files.mkdir(exist_ok=True)
        correspondence = Correspondence(reference, target, points, points, np.zeros(2))
        write_correspondence(files / f"{name}.mat", correspondence)
    # drawn with replacement, some without suffix, some with folders of another machine
    entries = [f"{NAMES[0]}.mat", NAMES[1], f"/media/data/corr/{NAMES[0]}.mat", f"{NAMES[1]}.mat"]
    (root / "corr_train.txt").write_text("\n".join(entries) + "\n")
    (root / "corr_val.txt").write_text(f"{NAMES[2]}.mat\n")
    return files


def names(files: list[Path]) -> list[str]:
    return [path.stem for path in files]


def test_a_published_set_is_read_with_its_lists_and_images_above_it(tmp_path):
    files = write_published(tmp_path)
    found = read_correspondence_set(files)
    assert found.images == tmp_path / "images"
    assert names(found.train_files()) == NAMES[:2]
    assert names(found.validation_files()) == NAMES[2:]
    assert len(training_pairs((found,))) == 2


def test_lists_and_images_beside_the_files_come_first(tmp_path):
    files = write_published(tmp_path)
    (tmp_path / "images").rename(files / "images")
    (files / "corr_train.txt").write_text(NAMES[2])
    found = read_correspondence_set(files)
    assert found.images == files / "images"
    assert names(found.train_files()) == NAMES[2:]
    assert len(training_pairs((found,))) == 1


def test_our_own_folder_is_a_set(folder):
    found = read_correspondence_set(folder.root)
    assert (found.correspondences, found.images) == (folder.files, folder.images)
    assert found.train_files() == folder.train_files()
    assert found.validation_files() == folder.validation_files()
    assert read_correspondence_sets(folder.root) == (found,)


def test_a_yaml_file_names_folders_relative_to_it(tmp_path):
    write_published(tmp_path / "cmu")
    (tmp_path / "cmu/images").rename(tmp_path / "pictures")
    (tmp_path / "few.txt").write_text(NAMES[0])
    text = "correspondences: cmu/correspondence_data\nimages: pictures\n"
    (tmp_path / "set.yaml").write_text(text + "train_list: few.txt\n")
    expected = CorrespondenceSet(
        tmp_path / "cmu/correspondence_data",
        tmp_path / "pictures",
        tmp_path / "few.txt",
        tmp_path / "cmu/corr_val.txt",
    )
    assert read_correspondence_sets(tmp_path / "set.yaml") == (expected,)
    assert names(expected.train_files()) == NAMES[:1]


def test_a_yaml_file_lists_several_sets(tmp_path, folder):
    files = write_published(tmp_path / "cmu")
    (tmp_path / "one.yaml").write_text(f"correspondences: {files}\nimages: cmu/images\n")
    (tmp_path / "all.yml").write_text(
        f"- one.yaml\n- {folder.root}\n- {{correspondences: {files}, images: cmu/images}}\n"
    )
    sets = read_correspondence_sets(tmp_path / "all.yml")
    assert [each.images for each in sets] == [
        tmp_path / "cmu/images", folder.images, tmp_path / "cmu/images",
    ]  # fmt: skip
    assert len(training_pairs(sets)) == 2 + 6 + 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("correspondences: corr\n", "lacks images"),
        ("correspondences: corr\nimages: nowhere\n", "images: there is no folder"),
        ("correspondences: corr\nimages: corr\npictures: corr\n", "does not know pictures"),
        ("correspondences: corr\nimages: 3\n", "give the paths"),
        ("just a line", "give the paths"),
        ("[]", "at least one"),
        ("- 3\n", "give the paths"),
        ("- - corr\n", "give the paths"),
        ("- nowhere\n", "no folder"),
        ("{", "cannot read"),
        ("", "give the paths"),
    ],
    ids=range(11),
)
def test_a_yaml_file_that_names_no_set_is_refused_in_one_line(tmp_path, text, message):
    (tmp_path / "corr").mkdir()
    (tmp_path / "set.yaml").write_text(text)
    with pytest.raises(TrainingError, match=message) as error:
        read_correspondence_sets(tmp_path / "set.yaml")
    assert "\n" not in str(error.value)


def test_a_folder_without_images_or_that_is_none_is_refused(tmp_path):
    for path in (tmp_path, tmp_path / "none", tmp_path / "none.yaml"):
        with pytest.raises(TrainingError, match=str(path)):
            read_correspondence_sets(path)


def test_missing_files_and_lists_are_told_in_one_line(tmp_path):
    files = write_published(tmp_path)
    (files / f"{NAMES[1]}.mat").unlink()
    found = read_correspondence_set(files)
    with pytest.raises(TrainingError, match=f"names 2 files that .* lacks, such as {NAMES[1]}"):
        found.train_files()
    (tmp_path / "corr_val.txt").unlink()
    with pytest.raises(FgsnError, match=r"corr_val\.txt"):
        read_correspondence_set(files).validation_files()
