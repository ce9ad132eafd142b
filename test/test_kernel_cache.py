import os
import re
import tempfile
from collections.abc import Callable
from pathlib import Path

import numba
import pytest
from numba.core import caching

import fgsn_ros
from fgsn_ros.caches import private_folder, provide
from fgsn_ros.kernel_cache import kernel


def tripled(x: float) -> float:
    return 3.0 * x


def compiled() -> Callable[[float], float]:
    return kernel()(tripled)


@pytest.fixture
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The temporary folder, where neither the package's folder nor the home can be written."""

    def refuse(locator: caching._CacheLocator) -> None:
        path = Path(locator.get_cache_path())
        if tmp_path not in path.parents:
            raise PermissionError(path)
        path.mkdir(parents=True, exist_ok=True)

    monkeypatch.setattr(caching._CacheLocator, "ensure_cache_path", refuse)
    monkeypatch.setattr(numba.config, "CACHE_DIR", "")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_kernels_are_kept_in_a_private_folder_where_nothing_else_can_be_written(
    nowhere: Path,
) -> None:
    assert compiled()(2.0) == 6.0
    (folder,) = nowhere.iterdir()
    assert folder.stat().st_mode & 0o777 == 0o700
    assert list(folder.rglob("*tripled*.nbi"))
    again = compiled()
    assert again(2.0) == 6.0
    assert sum(again.stats.cache_hits.values()) == 1  # type: ignore[attr-defined]


def test_kernels_are_compiled_without_a_cache_where_there_can_be_none(nowhere: Path) -> None:
    open_to_all = nowhere / f"fgsn_ros-{os.geteuid()}"
    open_to_all.mkdir()
    open_to_all.chmod(0o777)
    assert private_folder() is None
    assert compiled()(2.0) == 6.0
    assert list(open_to_all.iterdir()) == []


def test_a_link_or_a_file_is_no_private_folder(nowhere: Path) -> None:
    place = nowhere / f"fgsn_ros-{os.geteuid()}"
    (nowhere / "elsewhere").mkdir(mode=0o700)
    place.symlink_to(nowhere / "elsewhere")
    assert private_folder() is None
    place.unlink()
    place.touch(mode=0o600)
    assert private_folder() is None


@pytest.mark.parametrize("suffix", [".nbi", ".nbc"])
@pytest.mark.parametrize("content", [b"", b"\x80\x04garbage", b"cos\nsystem\n."])
def test_a_damaged_cache_costs_a_compilation(suffix: str, content: bytes, nowhere: Path) -> None:
    assert compiled()(2.0) == 6.0
    for file in nowhere.rglob(f"*{suffix}"):
        file.write_bytes(content)
    assert compiled()(2.0) == 6.0
    mended = compiled()
    assert mended(2.0) == 6.0
    assert sum(mended.stats.cache_hits.values()) == 1  # type: ignore[attr-defined]


def test_a_full_disk_does_not_stop_a_kernel(nowhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(caching.IndexDataCacheFile, "save", full)
    assert compiled()(2.0) == 6.0


def test_other_caches_go_to_the_private_folder_without_a_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("MPLCONFIGDIR", "TRITON_CACHE_DIR"):
        monkeypatch.delenv(name, raising=False)
    provide("MPLCONFIGDIR")
    assert "MPLCONFIGDIR" not in os.environ
    monkeypatch.setenv("HOME", "/nonexistent")
    monkeypatch.setenv("TRITON_CACHE_DIR", "/mine")
    provide("MPLCONFIGDIR", "TRITON_CACHE_DIR")
    assert os.environ.pop("MPLCONFIGDIR") == f"{private_folder()}/mplconfigdir"
    assert os.environ["TRITON_CACHE_DIR"] == "/mine"


def test_every_kernel_of_the_package_is_kept_so() -> None:
    """A plain `njit(cache=True)` fails at import where there is no place for its cache."""
    package = Path(fgsn_ros.__file__).parent
    for path in package.rglob("*.py"):
        if path.name != "kernel_cache.py":
            assert not re.search(r"\b(?:n?jit|vectorize)\(", path.read_text()), path
