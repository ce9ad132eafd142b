import json
import pickle
import subprocess
import sys

import numpy as np
import open3d
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fgsn_ros.errors import MapError, OutputError
from fgsn_ros.mapping import map_files
from fgsn_ros.mapping.map_files import MapWriter, export_ply, load_map, save_map
from fgsn_ros.mapping.map_records import TiledRecords
from fgsn_ros.mapping.semantic_map import SemanticMap
from fgsn_ros.segmentation.labels import palette

ARRAYS = ["points", "keyframes", "tile_keys", "tiles"]
FIRST_VERSION = ["points", "labels", "confidence", "directions", "min_range", "max_range"]
FIRST_VERSION += ["keyframe_poses", "keyframe_histograms"]


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
        np.testing.assert_array_equal(getattr(loaded, name)[:], getattr(m, name))
        assert getattr(loaded, name).dtype == getattr(m, name).dtype
    assert (loaded.label_count, loaded.fingerprint) == (m.label_count, m.fingerprint)
    assert (loaded.tile_size_m, loaded.identity) == (m.tile_size_m, m.identity)
    np.testing.assert_array_equal(loaded.all_points().points, m.all_points().points)
    assert np.load(folder / "points.npy").dtype.names is not None


def test_saving_in_parts_changes_nothing(tmp_path, make_map, monkeypatch):
    monkeypatch.setattr(map_files, "_COPIED_ROWS", 70)
    save_map(tmp_path / "parts", make_map())
    monkeypatch.undo()
    save_map(tmp_path / "whole", make_map())
    for name in ("meta.json", *(f"{name}.npy" for name in ARRAYS)):
        parts, whole = (tmp_path / folder / name for folder in ("parts", "whole"))
        assert parts.read_bytes() == whole.read_bytes()


def test_opening_reads_no_points(folder):
    content = (folder / "points.npy").read_bytes()
    (folder / "points.npy").write_bytes(content[:512] + b"\xff" * (len(content) - 512))
    m = load_map(folder)
    with pytest.raises(MapError, match="label"):
        m.points_near(np.zeros(3), 1e3)


def test_a_file_that_shrinks_after_opening_is_an_error_and_no_crash(folder):
    m = load_map(folder)
    with (folder / "points.npy").open("r+b") as file:
        file.truncate(1000)
    with pytest.raises(MapError, match="cut short"):
        m.points_near(np.zeros(3), 1e3)


@pytest.mark.parametrize("name", ARRAYS)
def test_a_map_that_is_emptied_while_it_is_used_is_an_error_or_unharmed(folder, name):
    m = load_map(folder)
    (folder / f"{name}.npy").write_bytes(b"")
    if name in ("points", "keyframes"):
        with pytest.raises(MapError, match="cut short"):
            _ = m.keyframes_within(*BOX) if name == "keyframes" else m.points_near(np.zeros(3), 1e3)
    else:
        assert len(m.points_near(np.zeros(3), 1e3)) == len(m)
        assert len(m.keyframes_within(*BOX)) == len(m.keyframes)


def test_tiles_may_be_written_in_any_order(tmp_path, make_map):
    m = make_map()
    tmp_path.joinpath("map").mkdir()
    writer = MapWriter(tmp_path / "map", m.label_count, m.fingerprint, m.tile_size_m)
    for tile in np.random.default_rng(0).permutation(len(m.tiles)):
        key, row = m.tile_keys[tile : tile + 1], m.tiles[tile : tile + 1].copy()
        points, keyframes = (
            getattr(m, f"{name}s")[row[f"first_{name}"][0] :][: row[f"{name}s"][0]]
            for name in ("point", "keyframe")
        )
        row["first_point"] = row["first_keyframe"] = 0
        writer.add(TiledRecords(key, row, points, keyframes))
    writer.close()
    loaded = load_map(tmp_path / "map")
    np.testing.assert_array_equal(loaded.all_points().points, m.all_points().points)
    np.testing.assert_array_equal(loaded.keyframes_within(*BOX), m.keyframes_within(*BOX))
    assert loaded.identity != m.identity


BOX = np.full(2, -99.0), np.full(2, 99.0)


def write_first_version(folder, arrays):
    """A map as the first version wrote it, but for its index of tiles."""
    folder.mkdir()
    for name in FIRST_VERSION:
        np.save(folder / f"{name}.npy", arrays[name])
    meta = {"format": "fgsn_ros semantic map", "version": 1, "label_count": 7}
    meta |= {"fingerprint": "f" * 64, "tile_size_m": 5.0, "point_count": 500, "keyframe_count": 4}
    (folder / "meta.json").write_text(json.dumps(meta))


def test_a_map_of_the_first_version_is_read(tmp_path, arrays):
    write_first_version(tmp_path / "map", arrays())
    expected = SemanticMap.from_points(**{**arrays(tile_size_m=5.0), "fingerprint": "f" * 64})
    loaded = load_map(tmp_path / "map")
    np.testing.assert_array_equal(loaded.all_points().points, expected.all_points().points)
    assert (loaded.identity, loaded.tile_size_m) == (expected.identity, 5.0)


@pytest.mark.parametrize("name", FIRST_VERSION)
def test_a_damaged_map_of_the_first_version_is_refused(tmp_path, arrays, name):
    write_first_version(tmp_path / "map", arrays())
    path = tmp_path / "map" / f"{name}.npy"
    content = path.read_bytes()
    for length in (0, 60, len(content) - 1):
        path.write_bytes(content[:length])
        with pytest.raises(MapError, match="damaged"):
            load_map(tmp_path / "map")
    np.save(path, np.full((500,), np.nan))
    with pytest.raises(MapError, match="damaged"):
        load_map(tmp_path / "map")


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
        ({"version": 3}, "format version"),
        ({"version": 1}, "damaged"),
        ({"label_count": "7"}, "label_count"),
        ({"label_count": True}, "label_count"),
        ({"label_count": -1}, "label count"),
        ({"label_count": 3}, "keyframes"),
        ({"identity": 5}, "identity"),
        ({"fingerprint": None}, "fingerprint"),
        ({"tile_size_m": float("nan")}, "NaN is no finite number"),
        ({"tile_size_m": -1.0}, "tile size"),
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

    np.save(folder / "points.npy", np.array([Hostile()] * 500, dtype=object), allow_pickle=True)
    with pytest.raises(MapError, match="points"):
        load_map(folder)
    (folder / "points.npy").write_bytes(pickle.dumps(Hostile()))
    with pytest.raises(MapError, match="points"):
        load_map(folder)
    assert not (tmp_path / "ran").exists()


def test_a_header_that_claims_more_than_the_file_holds_is_refused(folder):
    path = folder / "points.npy"
    path.write_bytes(path.read_bytes().replace(b"(500,)", b"(999,)"))
    with pytest.raises(MapError, match="points"):
        load_map(folder)


def test_exported_points_carry_their_labels_colours(tmp_path, make_map):
    m = make_map(count=64)
    export_ply(tmp_path / "map.ply", m)
    cloud = open3d.io.read_point_cloud(str(tmp_path / "map.ply"))
    np.testing.assert_array_equal(np.asarray(cloud.points), m.all_points().points)
    colours = np.round(np.asarray(cloud.colors) * 255)
    np.testing.assert_array_equal(colours, palette(7)[m.all_points().labels])


def test_a_map_is_read_without_pytorch_and_open3d():
    code = "import sys; from fgsn_ros.mapping import ground, map_files; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    assert not {"torch", "open3d", "numba"}.intersection(done.stdout.split())


@pytest.mark.parametrize("name", ["points", "tiles"])
@pytest.mark.parametrize("kind", ["'|V0'", "'|S0'", "[]"])
def test_a_header_of_values_without_a_size_is_refused(folder, name, kind):
    header = f"{{'descr': {kind}, 'fortran_order': False, 'shape': (-1,)}}\n".encode()
    start = np.lib.format.magic(1, 0) + len(header).to_bytes(2, "little")
    (folder / f"{name}.npy").write_bytes(start + header + bytes(100))
    with pytest.raises(MapError, match=rf"{name}\.npy cannot be read: it claims values of no size"):
        load_map(folder)
