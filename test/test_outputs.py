import errno
import os
from pathlib import Path

import pytest

from fgsn_ros.errors import OutputError, RecordingError
from fgsn_ros.outputs import check_output, whole_file, whole_folder


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


def test_a_folder_appears_whole(tmp_path: Path) -> None:
    path = tmp_path / "map"
    with whole_folder(path) as temporary:
        (temporary / "meta.json").write_text("{}")
        assert not path.exists()
    assert (path / "meta.json").read_text() == "{}"
    assert os.listdir(tmp_path) == ["map"]


def test_an_existing_folder_is_kept_unless_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "map"
    path.mkdir()
    (path / "old").touch()
    with pytest.raises(OutputError, match="exists already"), whole_folder(path):
        pass
    with whole_folder(path, overwrite=True) as temporary:
        (temporary / "new").touch()
    assert os.listdir(path) == ["new"]
    assert os.listdir(tmp_path) == ["map"]


def test_a_failed_folder_leaves_the_old_one_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "map"
    path.mkdir()
    (path / "old").touch()
    with pytest.raises(RecordingError), whole_folder(path, overwrite=True) as temporary:
        (temporary / "half").touch()
        raise RecordingError("the bag ends early")
    assert os.listdir(path) == ["old"]
    assert os.listdir(tmp_path) == ["map"]


def test_an_output_below_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot write"), whole_folder(tmp_path / "file" / "map"):
        pass


def test_an_output_is_refused_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="exists already"):
        check_output(tmp_path / "file")
    with pytest.raises(OutputError, match="cannot write"):
        check_output(tmp_path / "file" / "map")
    check_output(tmp_path / "file", overwrite=True)
    check_output(tmp_path / "new" / "map")
    assert os.listdir(tmp_path / "new") == []


def test_a_file_within_a_folder_is_named_where_it_would_have_been(tmp_path: Path) -> None:
    with (
        pytest.raises(OutputError, match=rf"cannot write {tmp_path}/map/a\.npy: No space left"),
        whole_folder(tmp_path / "map") as folder,
        whole_file(folder / "a.npy"),
    ):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
