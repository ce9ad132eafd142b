import zlib
from pathlib import Path

import numpy as np
import pytest

from fgsn_ros.correspondences import sets as sets_module
from fgsn_ros.correspondences.files import Correspondence, write_correspondence
from fgsn_ros.correspondences.images import ImageCache
from fgsn_ros.correspondences.sets import (
    CorrespondenceSet,
    References,
    index_pairs,
    read_correspondence_set,
    read_correspondence_sets,
    training_pairs,
    validation_pairs,
)
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
        ("2026-13-45", "give the paths"),
        ("x0: &x0 [a]\nx1: &x1 [*x0, *x0]\nx1: 3", "cannot read"),
        ("correspondences: ~nosuchuser/corr\nimages: corr\n", "~nosuchuser/corr: there is no home"),
        (f"correspondences: {'a' * 300}\nimages: corr\n", "File name too long"),
        ("", "give the paths"),
    ],
    ids=range(15),
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


def write(folder: Path, name: str, reference: str, target: str, count: int = 3) -> Path:
    """A correspondence file with random points, and its images as empty files."""
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    first, second = rng.uniform(0, 60, (2, count, 2))
    for image in (reference, target):
        (folder / image).parent.mkdir(parents=True, exist_ok=True)
        (folder / image).touch()
    path = folder / f"{name}.mat"
    correspondence = Correspondence(reference, target, first, second, np.arange(count) * 1.0)
    write_correspondence(path, correspondence)
    return path


def set_of(folder: Path, training: int, validation: int = 1) -> CorrespondenceSet:
    for kind, count in (("train", training), ("val", validation)):
        names = [f"{kind}{number}.mat" for number in range(count)]
        for name in names:
            write(folder, name[:-4], f"{kind}/a.png", f"{kind}/b.png")
        (folder / f"{kind}.txt").write_text("\n".join(names))
    return CorrespondenceSet(folder, folder, folder / "train.txt", folder / "val.txt")


def test_a_pair_s_points_are_its_file_s_and_a_distant_one_weighs_less(tmp_path):
    (pair,) = index_pairs(tmp_path, [write(tmp_path, "one", "a.png", "b.png")])
    assert (pair.reference, pair.target) == (tmp_path / "a.png", tmp_path / "b.png")
    assert pair.reference_points.shape == pair.target_points.shape == (3, 2)
    np.testing.assert_allclose(pair.weights, np.exp([0.0, -1.0, -2.0]))
    with pytest.raises(ValueError, match="read-only"):
        pair.reference_points[0] = 0.0


def test_pairs_without_a_point_are_left_out_and_none_at_all_is_an_error(tmp_path):
    empty = write(tmp_path, "empty", "a.png", "b.png", count=0)
    (pair,) = index_pairs(tmp_path, [empty, write(tmp_path, "full", "c.png", "d.png")])
    assert pair.reference.name == "c.png"
    with pytest.raises(TrainingError, match="hold a point"):
        index_pairs(tmp_path, [empty])


@pytest.mark.parametrize(("named", "stored"), [("png", "jpg"), ("jpg", "png"), ("png", "jpeg")])
def test_an_image_under_another_suffix_than_its_file_names_is_found(tmp_path, named, stored):
    file = write(tmp_path, "one", f"rear/1.5.{named}", f"rear/2.5.{named}")
    for number in (1, 2):
        image = tmp_path / f"rear/{number}.5.{named}"
        image.rename(image.with_suffix(f".{stored}"))
    (pair,) = index_pairs(tmp_path, [file])
    assert pair.target == tmp_path / f"rear/2.5.{stored}"
    pair.target.unlink()
    with pytest.raises(TrainingError, match=rf"one\.mat names image .*2\.5\.{named}"):
        index_pairs(tmp_path, [file])


def test_hundreds_of_pairs_are_listed_without_their_points(tmp_path, monkeypatch):
    files = [write(tmp_path, f"{n}", f"{n % 7}.png", f"t{n}.png") for n in range(300)]
    read = []
    original = sets_module.read_correspondence
    monkeypatch.setattr(
        sets_module, "read_correspondence", lambda path: read.append(path) or original(path)
    )
    pairs = index_pairs(tmp_path, files)
    assert [pair.file for pair in pairs] == files
    assert len({id(pair.reference) for pair in pairs}) == 7  # one path for all its pairs
    assert read == []
    for _ in range(3):
        assert pairs[200].weights.shape == (3,)
    assert read == [files[200]]


def test_a_reference_has_the_distinct_points_of_all_its_pairs(tmp_path):
    files = [write(tmp_path, f"{n}", f"{n % 2}.png", "t.png", count=n + 1) for n in range(5)]
    pairs = index_pairs(tmp_path, [*files, files[0]])
    references = References(pairs)
    assert references.images == (tmp_path / "0.png", tmp_path / "1.png")
    found = references.points(tmp_path / "0.png", ImageCache(0))
    expected = np.concatenate([pairs[n].reference_points for n in (0, 2, 4)])
    assert len(found) == len(expected) == 9
    np.testing.assert_array_equal(found[np.lexsort(found.T)], expected[np.lexsort(expected.T)])


def test_pairs_of_several_sets_are_all_there_and_a_set_named_twice_is_twice(tmp_path):
    first, second = set_of(tmp_path / "a", 4), set_of(tmp_path / "b", 2, validation=3)
    files = [pair.file for pair in training_pairs((first, second, second))]
    assert [path.parent.name for path in files] == [*"aaaabbbb"]
    assert len(validation_pairs((first, second))) == 4


def test_a_damaged_file_is_found_before_training(tmp_path):
    path = write(tmp_path, "one", "a.png", "b.png")
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(FgsnError, match=r"one\.mat"):
        index_pairs(tmp_path, [path])
