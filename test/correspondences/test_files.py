import contextlib
import zlib
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from fgsn_ros.correspondences.files import (
    Correspondence,
    CorrespondenceFolder,
    CorrespondenceHeader,
    file_name,
    read_correspondence,
    read_correspondence_header,
    read_list,
    write_correspondence,
    write_list,
)
from fgsn_ros.errors import FgsnError, RecordingError

PUBLISHED = "fgsn_mat_form/correspondence_slice22_run13_run29_c1362_c2346.mat"


def made(count: int = 7) -> Correspondence:
    rng = np.random.default_rng(3)
    return Correspondence(
        "slice22/query/img_1.jpg",
        "slice22/query/img_2.jpg",
        rng.uniform(0, 700, (count, 2)),
        rng.uniform(0, 700, (count, 2)),
        rng.uniform(0, 1, count),
    )


def assert_same(a: Correspondence, b: Correspondence) -> None:
    assert (a.reference_image, a.target_image) == (b.reference_image, b.target_image)
    np.testing.assert_array_equal(a.reference_points, b.reference_points)
    np.testing.assert_array_equal(a.target_points, b.target_points)
    np.testing.assert_array_equal(a.distance, b.distance)


def layout(path: Path) -> dict[str, tuple[tuple[int, ...], np.dtype]]:
    with h5py.File(path) as file:
        return {name: (file[name].shape, file[name].dtype) for name in file}


def test_a_written_file_has_the_published_layout_and_types(tmp_path: Path) -> None:
    path = tmp_path / file_name(22, (13, 29), (1362, 2346))
    write_correspondence(path, made())
    assert path.name == "correspondence_slice22_run13_run29_c1362_c2346.mat"
    assert layout(path) == {
        "im_i_path": ((23, 1), np.dtype("<u2")),
        "im_j_path": ((23, 1), np.dtype("<u2")),
        "pt_i": ((7, 2), np.dtype("<f8")),
        "pt_j": ((7, 2), np.dtype("<f8")),
        "dist_from_center": ((1, 7), np.dtype("<f8")),
    }


def test_a_published_file_comes_back_the_same(tmp_path: Path, shared_data: Path) -> None:
    correspondence = read_correspondence(shared_data / PUBLISHED)
    write_correspondence(tmp_path / "copy.mat", correspondence)
    assert_same(read_correspondence(tmp_path / "copy.mat"), correspondence)
    assert layout(tmp_path / "copy.mat") == layout(shared_data / PUBLISHED)
    assert correspondence.reference_image.endswith(".jpg")


names = st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1)


@settings(max_examples=25, deadline=None)
@given(name=names.filter(lambda name: name != ".."), count=st.integers(0, 5), data=st.data())
def test_any_correspondence_survives_a_round_trip(
    tmp_path_factory: pytest.TempPathFactory, name: str, count: int, data: st.DataObject
) -> None:
    finite = st.floats(allow_nan=False, allow_infinity=False)
    correspondence = Correspondence(
        f"a/{name}",
        "b.png",
        data.draw(arrays(np.float64, (count, 2), elements=finite)),
        data.draw(arrays(np.float64, (count, 2), elements=finite)),
        data.draw(arrays(np.float64, count, elements=finite)),
    )
    path = tmp_path_factory.mktemp("round") / "pair.mat"
    write_correspondence(path, correspondence)
    assert_same(read_correspondence(path), correspondence)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 0.99])
def test_a_truncated_file_is_refused_in_one_line(tmp_path: Path, share: float) -> None:
    path = tmp_path / "pair.mat"
    write_correspondence(path, made())
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(RecordingError, match=r"pair\.mat") as error:
        read_correspondence(path)
    assert "\n" not in str(error.value)


def with_field(folder: Path, field: str, value: object) -> Path:
    """A correspondence file with another value of a field, or without it."""
    path = folder / "pair.mat"
    write_correspondence(path, made())
    with h5py.File(path, "a") as file:
        del file[field]
        if value is not None:
            file[field] = value
    return path


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("pt_i", np.full((7, 2), np.nan)),
        ("pt_j", np.zeros((6, 2))),
        ("pt_j", np.zeros((2, 7))),
        ("pt_i", "text"),
        ("im_j_path", np.frombuffer("../secret.png".encode("utf-16-le"), np.uint16)),
        ("im_j_path", np.frombuffer("/etc/passwd".encode("utf-16-le"), np.uint16)),
        ("im_i_path", np.zeros((0, 1), np.uint16)),
        ("im_i_path", np.array([[0xD800]], np.uint16)),
        ("dist_from_center", None),
    ],
)
def test_a_wrong_field_is_refused(tmp_path: Path, field: str, value: object) -> None:
    with pytest.raises(RecordingError) as error:
        read_correspondence(with_field(tmp_path, field, value))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("count", [0, 7])
def test_a_header_tells_images_and_number_without_the_points(tmp_path: Path, count: int) -> None:
    write_correspondence(tmp_path / "pair.mat", made(count))
    header = read_correspondence_header(tmp_path / "pair.mat")
    assert header == CorrespondenceHeader(made().reference_image, made().target_image, count)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("pt_j", np.zeros((6, 2))),
        ("pt_i", np.zeros((2, 7))),
        ("im_i_path", np.frombuffer("/etc/passwd".encode("utf-16-le"), np.uint16)),
        ("im_i_path", "text"),
        ("dist_from_center", None),
    ],
)
def test_a_wrong_header_is_refused(tmp_path: Path, field: str, value: object) -> None:
    with pytest.raises(RecordingError):
        read_correspondence_header(with_field(tmp_path, field, value))


def test_a_group_in_place_of_a_field_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "pair.mat"
    write_correspondence(path, made())
    with h5py.File(path, "a") as file:
        del file["pt_i"]
        file.create_group("pt_i")
    for read in (read_correspondence, read_correspondence_header):
        with pytest.raises(RecordingError, match=r"pair\.mat"):
            read(path)


def with_stored(folder: Path, field: str, store) -> Path:
    """A correspondence file with a field that `store` puts into the open file."""
    path = with_field(folder, field, None)
    with h5py.File(path, "a") as file:
        store(file)
    return path


def grow(file: h5py.File) -> None:
    """A chunk that unpacks to a hundred times of what its shape says."""
    array = file.create_dataset("pt_i", (7, 2), "f8", chunks=(7, 2), compression="gzip")
    array.id.write_direct_chunk((0, 0), zlib.compress(bytes(100 * 7 * 2 * 8)))


@pytest.mark.parametrize(
    ("store", "reason"),
    [
        (lambda f: f.create_dataset("pt_i", (2**33, 2), "f8"), "claims 17179869184 values"),
        (lambda f: f.create_dataset("pt_i", (7, 2), "f8"), "not all there"),
        (lambda f: f.create_dataset("pt_i", (7, 2), "f8", chunks=(7, 2)), "not all there"),
        (lambda f: f.create_dataset("pt_i", (10**6, 2), "f8", chunks=(1, 1)), "2000000 chunks"),
        (lambda f: f.create_dataset("pt_i", (7, 2), "f8", external="/etc/passwd"), "another file"),
        (lambda f: f.__setitem__("pt_i", h5py.SoftLink("/pt_j")), "link to elsewhere"),
        (lambda f: f.__setitem__("pt_i", h5py.SoftLink("/pt_i")), "pair.mat"),
        (lambda f: f.__setitem__("pt_i", h5py.ExternalLink("/etc/passwd", "/a")), "pair.mat"),
        (lambda f: f.__setitem__("pt_i", h5py.Empty("f8")), "no array of numbers"),
        (lambda f: f.create_dataset("pt_i", data=["a"] * 7), "no array of numbers"),
        (lambda f: f.create_dataset("pt_i", data=np.zeros((7, 2)), compression="lzf"), "by gzip"),
        (grow, "not all there"),
    ],
)
def test_what_claims_more_than_it_holds_is_not_read(tmp_path: Path, store, reason: str) -> None:
    path = with_stored(tmp_path, "pt_i", store)
    for read in (read_correspondence, read_correspondence_header):
        with pytest.raises(RecordingError, match=reason) as error:
            read(path)
        assert "pair.mat" in str(error.value)


@pytest.mark.parametrize(
    "options",
    [
        {"compression": "gzip"},
        {"compression": "gzip", "shuffle": True, "fletcher32": True},
        {"fletcher32": True},
        {"chunks": (3, 1)},
    ],
)
def test_packed_points_are_read_as_matlab_stores_them(tmp_path: Path, options) -> None:
    points = np.random.default_rng(0).uniform(0, 90, (7, 2))
    path = with_stored(tmp_path, "pt_i", lambda f: f.create_dataset("pt_i", data=points, **options))
    np.testing.assert_array_equal(read_correspondence(path).reference_points, points)


def test_damage_anywhere_in_a_file_is_refused_or_leaves_a_correspondence(tmp_path: Path) -> None:
    path = tmp_path / "pair.mat"
    write_correspondence(path, made())
    whole = path.read_bytes()
    for place in range(0, len(whole), 29):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :])
        with contextlib.suppress(RecordingError):
            assert read_correspondence(path).reference_points.shape == (7, 2)


def test_a_list_comes_back_in_order_without_its_duplicates(tmp_path: Path) -> None:
    folder = CorrespondenceFolder(tmp_path)
    write_list(tmp_path / "corr_train.txt", ["b.mat", "a.mat", "b.mat"])
    assert read_list(tmp_path / "corr_train.txt") == ["b.mat", "a.mat"]
    assert folder.train_files() == [folder.files / "b.mat", folder.files / "a.mat"]
    assert folder.class_path("town/7.jpg") == tmp_path / "classes/town/7.png"


def test_a_missing_or_empty_list_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FgsnError, match="corr_val"):
        CorrespondenceFolder(tmp_path).validation_files()
    (tmp_path / "corr_val.txt").write_text("\n")
    with pytest.raises(FgsnError, match="corr_val"):
        CorrespondenceFolder(tmp_path).validation_files()
