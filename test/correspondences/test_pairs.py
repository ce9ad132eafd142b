import zlib
from pathlib import Path

import numpy as np
import pytest

from fgsn_ros.correspondences import pairs as pairs_module
from fgsn_ros.correspondences.correspondence_sets import CorrespondenceSet
from fgsn_ros.correspondences.files import Correspondence, write_correspondence
from fgsn_ros.correspondences.images import ImageCache
from fgsn_ros.correspondences.pairs import References, index_pairs, training_pairs, validation_pairs
from fgsn_ros.errors import FgsnError, TrainingError


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
    original = pairs_module.read_correspondence
    monkeypatch.setattr(
        pairs_module, "read_correspondence", lambda path: read.append(path) or original(path)
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
