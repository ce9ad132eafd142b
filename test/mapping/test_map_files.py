import json
import pickle

import numpy as np
import open3d
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fgsn_ros.errors import MapError, OutputError
from fgsn_ros.mapping.map_files import export_ply, load_map, save_map
from fgsn_ros.segmentation.labels import palette

ARRAYS = ["points", "labels", "confidence", "directions", "min_range", "max_range"]
ARRAYS += ["tile_keys", "tile_starts", "keyframe_poses", "keyframe_histograms"]


@pytest.fixture
def folder(tmp_path, make_map):
    save_map(tmp_path / "map", make_map())
    return tmp_path / "map"


@settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    seed=st.integers(0, 1000),
    count=st.integers(0, 200),
    label_count=st.integers(1, 300),
    keyframes=st.integers(1, 5),
    tile_size_m=st.floats(0.5, 100.0),
)
def test_a_saved_map_loads_to_the_bit(tmp_path_factory, make_map, **values):
    m = make_map(**values)
    folder = tmp_path_factory.mktemp("maps") / "map"
    save_map(folder, m)
    loaded = load_map(folder)
    for name in ARRAYS:
        np.testing.assert_array_equal(getattr(loaded, name), getattr(m, name))
        assert getattr(loaded, name).dtype == getattr(m, name).dtype
    assert (loaded.label_count, loaded.fingerprint) == (m.label_count, m.fingerprint)
    assert loaded.tile_size_m == m.tile_size_m


def test_arrays_are_mapped_not_read(folder):
    assert isinstance(load_map(folder).points, np.memmap)


def test_an_existing_map_is_kept_unless_told(folder, make_map):
    with pytest.raises(OutputError, match="exists"):
        save_map(folder, make_map(seed=1))
    save_map(folder, make_map(seed=1, count=33), overwrite=True)
    assert len(load_map(folder)) == 33


def test_a_folder_without_a_map_is_refused(tmp_path):
    with pytest.raises(MapError, match=r"meta\.json is missing"):
        load_map(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": "something else"}, "does not describe a map"),
        ({"version": 2}, "format version"),
        ({"label_count": "7"}, "label_count"),
        ({"label_count": True}, "label_count"),
        ({"label_count": -1}, "label count"),
        ({"label_count": 3}, "keyframe_histograms|label count"),
        ({"fingerprint": None}, "fingerprint"),
        ({"tile_size_m": float("nan")}, "tile size"),
        ({"tile_size_m": 11.0}, "outside its tile|not ordered"),
        ({"point_count": 499}, "do not match"),
        ({"keyframe_count": 10**12}, "do not match"),
    ],
)
def test_damaged_meta_is_refused(folder, change, message):
    meta = json.loads((folder / "meta.json").read_text())
    (folder / "meta.json").write_text(json.dumps({**meta, **change}))
    with pytest.raises(MapError, match=message):
        load_map(folder)


@pytest.mark.parametrize(
    "content", [b"", b"\xff\xfe", b"[]", b"{", b"[" * 100_000, b'"' + b"a" * (1 << 20) + b'"']
)
def test_meta_that_is_not_the_expected_json_is_refused(folder, content):
    (folder / "meta.json").write_bytes(content)
    with pytest.raises(MapError):
        load_map(folder)


@pytest.mark.parametrize("name", ARRAYS)
def test_truncated_or_missing_arrays_are_refused(folder, name):
    path = folder / f"{name}.npy"
    content = path.read_bytes()
    for length in (0, 4, 60, len(content) - 1):
        path.write_bytes(content[:length])
        with pytest.raises(MapError, match=name):
            load_map(folder)
    path.unlink()
    with pytest.raises(MapError, match="missing"):
        load_map(folder)


def test_an_array_of_python_objects_is_refused_and_not_run(folder, tmp_path):
    class Hostile:
        def __reduce__(self):
            return (open, (str(tmp_path / "ran"), "w"))

    np.save(folder / "labels.npy", np.array([Hostile()] * 500, dtype=object), allow_pickle=True)
    with pytest.raises(MapError, match="labels"):
        load_map(folder)
    (folder / "labels.npy").write_bytes(pickle.dumps(Hostile()))
    with pytest.raises(MapError, match="labels"):
        load_map(folder)
    assert not (tmp_path / "ran").exists()


def test_a_header_that_claims_more_than_the_file_holds_is_refused(folder):
    path = folder / "points.npy"
    path.write_bytes(path.read_bytes().replace(b"(500, 3)", b"(9" + b"9" * 4 + b", 3)"))
    with pytest.raises(MapError, match="points"):
        load_map(folder)


def test_exported_points_carry_their_labels_colours(tmp_path, make_map):
    m = make_map(count=64)
    export_ply(tmp_path / "map.ply", m)
    cloud = open3d.io.read_point_cloud(str(tmp_path / "map.ply"))
    np.testing.assert_array_equal(np.asarray(cloud.points), m.points)
    colours = np.round(np.asarray(cloud.colors) * 255)
    np.testing.assert_array_equal(colours, palette(7)[m.labels])
