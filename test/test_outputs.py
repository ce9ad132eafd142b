import errno
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fgsn_ros.errors import OutputError, RecordingError
from fgsn_ros.outputs import Layout, check_apart, check_file, check_folder, whole_file, whole_folder

LAYOUT = Layout("meta.json", '"a map"', ("*.npy", "labels/*.png"))


def make(path: Path, *names: str, overwrite: bool = False) -> Path:
    """A folder of the layout, with further files."""
    with whole_folder(path, LAYOUT, overwrite) as temporary:
        (temporary / "meta.json").write_text('{"format": "a map"}')
        for name in names:
            (temporary / name).parent.mkdir(exist_ok=True)
            (temporary / name).touch()
    return path


@pytest.fixture
def umask() -> Iterator[None]:
    old = os.umask(0o027)
    yield
    os.umask(old)


def test_a_file_appears_whole_with_its_content(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.txt"
    with whole_file(path) as temporary:
        temporary.write_text("content")
        assert not path.exists()
    assert path.read_text() == "content"
    assert os.listdir(path.parent) == ["a.txt"]


def test_a_failed_file_leaves_the_old_one_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(RecordingError), whole_file(path) as temporary:
        temporary.write_text("half")
        raise RecordingError("the bag ends early")
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_a_full_disk_names_the_output_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    with pytest.raises(OutputError, match=r"a\.txt: No space left") as caught, whole_file(path):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert "\n" not in str(caught.value)
    assert os.listdir(tmp_path) == []


def test_a_new_file_does_not_replace_one_that_came_meanwhile(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    with (
        pytest.raises(OutputError, match="exists already"),
        whole_file(path, overwrite=False) as temporary,
    ):
        temporary.write_text("second")
        path.write_text("first")
    assert path.read_text() == "first"
    with pytest.raises(OutputError, match="exists already"), whole_file(path, overwrite=False):
        pytest.fail("refused before the work")
    assert os.listdir(tmp_path) == ["a.txt"]


def test_a_file_is_made_where_there_are_no_hard_links(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "link", refuse)
    with whole_file(tmp_path / "a.txt", overwrite=False) as temporary:
        temporary.write_text("content")
    assert (tmp_path / "a.txt").read_text() == "content"
    with (
        pytest.raises(OutputError, match="exists already"),
        whole_file(tmp_path / "b.txt", overwrite=False) as temporary,
    ):
        (tmp_path / "b.txt").write_text("first")
    assert (tmp_path / "b.txt").read_text() == "first"


def test_a_folder_appears_whole(tmp_path: Path) -> None:
    path = tmp_path / "map"
    with whole_folder(path, LAYOUT) as temporary:
        (temporary / "meta.json").write_text("{}")
        assert not path.exists()
    assert (path / "meta.json").read_text() == "{}"
    assert os.listdir(tmp_path) == ["map"]


def test_an_existing_folder_is_kept_unless_overwritten(tmp_path: Path) -> None:
    path = make(tmp_path / "map", "old.npy")
    with pytest.raises(OutputError, match="exists already"):
        make(path, "new.npy")
    make(path, "new.npy", overwrite=True)
    assert sorted(os.listdir(path)) == ["meta.json", "new.npy"]
    assert os.listdir(tmp_path) == ["map"]


@pytest.mark.parametrize("name", ["notes.txt", "labels/notes.txt", "points.npy.bak"])
def test_a_folder_that_holds_something_else_is_kept_and_the_file_is_named(
    name: str, tmp_path: Path
) -> None:
    path = make(tmp_path / "map", "points.npy", "labels/0.png")
    (path / name).touch()
    for attempt in (make, lambda path, overwrite: check_folder(path, LAYOUT, overwrite)):
        with pytest.raises(OutputError, match=f"map is not replaced: it holds {name}, which"):
            attempt(path, overwrite=True)
    assert (path / name).exists()
    assert (path / "points.npy").exists()
    (path / name).unlink()
    make(path, overwrite=True)
    assert os.listdir(path) == ["meta.json"]


def test_a_folder_without_the_mark_is_kept_and_an_empty_one_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "map"
    path.mkdir()
    for name in ("meta.json", "points.npy"):
        (path / name).write_text("something else")
    with pytest.raises(OutputError, match=r"is not replaced: it holds (meta.json|points.npy)"):
        make(path, overwrite=True)
    assert sorted(os.listdir(path)) == ["meta.json", "points.npy"]
    (tmp_path / "empty").mkdir()
    make(tmp_path / "empty", overwrite=True)


def test_a_folder_whose_place_is_taken_meanwhile_is_given_up(tmp_path: Path) -> None:
    path = tmp_path / "map"
    with pytest.raises(OutputError, match="exists already"), whole_folder(path, LAYOUT) as second:
        (second / "b.npy").touch()
        path.mkdir()
        (path / "a.npy").touch()
    assert os.listdir(path) == ["a.npy"]
    assert os.listdir(tmp_path) == ["map"]


def test_a_folder_that_another_run_writes_is_refused_at_once(tmp_path: Path) -> None:
    path = tmp_path / "map"
    with whole_folder(path, LAYOUT) as first:
        (first / "a.npy").touch()
        with pytest.raises(OutputError, match="is being written by another run"):
            make(path)
    assert os.listdir(path) == ["a.npy"]
    assert os.listdir(tmp_path) == ["map"]


def test_what_a_killed_run_left_is_removed_by_the_next(tmp_path: Path) -> None:
    code = (
        "import os, sys; from pathlib import Path; from fgsn_ros.outputs import *\n"
        "with whole_folder(Path(sys.argv[1]), Layout('meta.json', 'x', ())): os._exit(9)"
    )
    subprocess.run([sys.executable, "-c", code, tmp_path / "map"], check=False)
    (left,) = tmp_path.iterdir()
    assert left.name.startswith(".map-")
    make(tmp_path / "map2")
    assert left.exists()  # of another output
    make(tmp_path / "map")
    assert sorted(os.listdir(tmp_path)) == ["map", "map2"]


def test_a_failed_folder_leaves_the_old_one_and_nothing_else(tmp_path: Path) -> None:
    path = make(tmp_path / "map", "old.npy")
    with pytest.raises(RecordingError), whole_folder(path, LAYOUT, overwrite=True) as temporary:
        (temporary / "half").touch()
        raise RecordingError("the bag ends early")
    assert sorted(os.listdir(path)) == ["meta.json", "old.npy"]
    assert os.listdir(tmp_path) == ["map"]


def test_permissions_are_those_of_the_umask(tmp_path: Path, umask: None) -> None:
    path = make(tmp_path / "map", "a.npy")
    with whole_file(tmp_path / "a.txt") as temporary:
        temporary.unlink()  # as some writers do
        temporary.touch(mode=0o600)
    assert (tmp_path / "a.txt").stat().st_mode & 0o777 == 0o640
    assert path.stat().st_mode & 0o777 == 0o750


def test_what_is_renamed_is_on_the_disk_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, synced = tmp_path / "a.txt", []
    sync = os.fsync

    def note(descriptor: int) -> None:
        synced.append((os.path.basename(os.readlink(f"/proc/self/fd/{descriptor}")), path.exists()))
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", note)
    with whole_file(path) as temporary:
        temporary.write_text("content")
    assert synced == [(temporary.name, False), (tmp_path.name, True)]


def test_a_link_is_followed_and_stays(tmp_path: Path) -> None:
    make(tmp_path / "elsewhere" / "map", "old.npy")
    (tmp_path / "elsewhere" / "a.txt").write_text("old")
    for name in ("map", "a.txt"):
        (tmp_path / name).symlink_to(tmp_path / "elsewhere" / name)
    make(tmp_path / "map", "new.npy", overwrite=True)
    with whole_file(tmp_path / "a.txt") as temporary:
        temporary.write_text("new")
    assert (tmp_path / "map").is_symlink()
    assert sorted(os.listdir(tmp_path / "elsewhere" / "map")) == ["meta.json", "new.npy"]
    assert (tmp_path / "elsewhere" / "a.txt").read_text() == "new"
    assert sorted(os.listdir(tmp_path / "elsewhere")) == ["a.txt", "map"]


def test_an_output_that_cannot_be_one_is_refused_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    (tmp_path / "dangling").symlink_to(tmp_path / "absent")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    os.mkfifo(tmp_path / "pipe")
    for name, of_file, of_folder in (
        ("file", None, "is a file; name a folder"),
        ("folder", "is a folder; name a file", None),
        ("pipe", "is no file but a device or a pipe", "is a file"),
        ("dangling", "is a link to .*absent, which is not there", "is a link"),
        ("loop", "is a link to", "is a link to"),
        ("file/below", "cannot write .*below", "cannot write .*below"),
        ("x" * 300, "File name too long", "File name too long"),
        ("a\0b", "is no path: .*null", "is no path"),
    ):
        expect(of_file, lambda p: check_file(p, overwrite=True), tmp_path / name)
        expect(of_folder, lambda p: check_folder(p, LAYOUT, overwrite=True), tmp_path / name)
    expect("is a mount point", lambda p: check_folder(p, LAYOUT, overwrite=True), Path("/proc"))
    assert sorted(os.listdir(tmp_path)) == ["dangling", "file", "folder", "loop", "pipe"]


def expect(words: str | None, check, path: Path) -> None:
    if words is None:
        check(path)
        return
    with pytest.raises(OutputError, match=words):
        check(path)


def test_an_output_that_is_an_input_holds_or_is_put_into_one_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    bag, images = tmp_path / "drives" / "bag", tmp_path / "images"
    for folder, name in ((bag, "metadata.yaml"), (images, "0.png")):
        folder.mkdir(parents=True)
        (folder / name).touch()
    (tmp_path / "link").symlink_to(bag)
    for output, given, words in (
        (bag, bag, "bag is an input, too"),
        (Path("drives/../link"), bag, "link is an input, too"),
        (bag, Path("link"), "is an input, too: link"),
        (tmp_path / "drives", Path("link"), "holds the input link"),
        (Path("."), images, "holds the input"),
        (Path("link/result"), bag, "lies within the input"),
    ):
        with pytest.raises(OutputError, match=words):
            check_folder(output, LAYOUT, True, [images, given])
    with pytest.raises(OutputError, match=r"0\.png lies within the input"):
        check_file(images / "0.png", True, [images])
    with pytest.raises(OutputError, match=r"lies within the output out"):
        check_apart(tmp_path / "out" / "run.rrd", Path("out"))
    check_folder(images / "labels", LAYOUT, True, [images])
    check_file(images / "new.ply", False, [images])


def test_an_output_below_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot write"):
        make(tmp_path / "file" / "map")


def test_an_output_is_refused_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="exists already"):
        check_file(tmp_path / "file")
    check_file(tmp_path / "file", overwrite=True)
    check_folder(tmp_path / "new" / "map", LAYOUT)
    assert os.listdir(tmp_path) == ["file"]


def test_a_file_within_a_folder_is_named_where_it_would_have_been(tmp_path: Path) -> None:
    with (
        pytest.raises(OutputError, match=rf"cannot write {tmp_path}/map/a\.npy: No space left"),
        whole_folder(tmp_path / "map", LAYOUT) as folder,
        whole_file(folder / "a.npy"),
    ):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
