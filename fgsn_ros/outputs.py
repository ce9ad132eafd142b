"""Outputs that appear whole or not at all, and replace nothing but what they may.

A folder is written under a hidden name beside its place, `.NAME-xxxxxxxx.part`, and locked for as
long as its writer lives: what a killed run leaves is found by that, and removed by the next one.
What is renamed into its place is on the disk before: a power cut leaves the old or the new, whole.
"""

import ctypes
import errno
import fcntl
import os
import re
import secrets
import shutil
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from fnmatch import fnmatch
from glob import escape
from pathlib import Path

from fgsn_ros.errors import OutputError

_PART, _OLD = ".part", ".old"
_READ_BYTES = 1 << 20
_TAKEN = {errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR}
"""What renaming a folder to a name that is in use says."""
_NO_LINKS = {errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}
"""What file systems without hard links say."""


@dataclass(frozen=True)
class Layout:
    """What tells that a folder is one that this package made, and nothing else is in it."""

    file: str
    """in the folder"""
    mark: str
    """regular expression of a text in that file"""
    others: tuple[str, ...]
    """patterns of the other files, relative to the folder; `*` stands for any text, `/` too"""

    def foreign(self, folder: Path) -> str | None:
        """A file in the folder that this package did not write; None if there is none."""
        known = (self.file, *self.others) if self._is_marked(folder) else ()
        for name in _files(folder):
            if not any(fnmatch(name, pattern) for pattern in known):
                return name
        return None

    def _is_marked(self, folder: Path) -> bool:
        try:
            with (folder / self.file).open("rb") as file:
                text = file.read(_READ_BYTES).decode(errors="replace")
        except OSError:
            return False
        return re.search(self.mark, text, re.DOTALL) is not None


def _files(folder: Path) -> Iterator[str]:
    """Paths, relative to a folder, of all that is in it but folders."""
    for place, folders, names in os.walk(folder):
        linked = (name for name in folders if (Path(place) / name).is_symlink())
        for name in (*names, *linked):
            yield (Path(place) / name).relative_to(folder).as_posix()


def check_file(path: Path, overwrite: bool = False, inputs: Iterable[Path] = ()) -> None:
    """Refuse an output file before the work that makes it, not after.

    Args:
        path: The file.
        overwrite: It may be there already.
        inputs: What it must not replace, nor be put into.

    Raises:
        OutputError: it exists (without `overwrite`), is an input, or cannot be written.
    """
    target, sources = _target(path), list(inputs)
    _refuse_inputs(path, target, sources)
    _refuse_file(path, target, overwrite)
    _refuse_within(path, target, sources)
    _try_to_write(path, target)


def check_folder(
    path: Path, layout: Layout, overwrite: bool = False, inputs: Iterable[Path] = ()
) -> None:
    """Refuse an output folder before the work that makes it, not after; as `check_file`.

    Raises:
        OutputError: it exists (without `overwrite`), is an input or holds one, holds what this
            package did not write, or cannot be written.
    """
    target, sources = _target(path), list(inputs)
    _refuse_inputs(path, target, sources)
    _refuse_folder(path, target, layout, overwrite)
    _refuse_within(path, target, sources)
    _try_to_write(path, target)


def check_no_input(path: Path, inputs: Iterable[Path]) -> None:
    """Refuse an output that is one of the inputs.

    Raises:
        OutputError: it is.
    """
    target = _target(path)
    for given in inputs:
        if target == Path(os.path.realpath(given)):
            raise OutputError(f"{path} is an input, too: {given}; choose another output")


def check_apart(path: Path, folder: Path) -> None:
    """Refuse an output that would lie within another one, a folder.

    Raises:
        OutputError: it would.
    """
    target, other = _target(path), _target(folder)
    if target == other or other in target.parents:
        raise OutputError(f"{path} lies within the output {folder}; choose another place")


@contextmanager
def whole_file(path: Path, overwrite: bool = True) -> Iterator[Path]:
    """Yield a temporary path that becomes `path` when the block ends without an error.

    Args:
        path: The file to make.
        overwrite: Replace a file that is there; without it, it is refused, also in the end.

    Raises:
        OutputError: the file exists or cannot be written (no permission, disk full, ...).
    """
    target = _target(path)
    _refuse_file(path, target, overwrite)
    with _errors_named(path):
        target.parent.mkdir(parents=True, exist_ok=True)
        name = f".{target.stem}-{secrets.token_hex(4)}{target.suffix}"
        temporary = target.with_name(name)
        os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
        mode = temporary.stat().st_mode
        try:
            yield temporary
            temporary.chmod(mode)  # some writers put a private file in its place
            # those within a folder that is being written are put on the disk with it
            at_once = not any(parent.suffix == _PART for parent in target.parents)
            if at_once:
                _sync(temporary)
            if overwrite:
                temporary.replace(target)
            else:
                _place(temporary, path, target)
            if at_once:
                _sync(target.parent)
        finally:
            temporary.unlink(missing_ok=True)


@contextmanager
def whole_folder(path: Path, layout: Layout, overwrite: bool = False) -> Iterator[Path]:
    """Yield a temporary folder that becomes `path` when the block ends without an error.

    Args:
        path: The folder to make.
        layout: What it will hold.
        overwrite: Replace a folder of that layout; without it, one that is there is refused.

    Raises:
        OutputError: the folder exists, is being written by another run, holds what this package
            did not write, or cannot be written.
    """
    target = _target(path)
    _refuse_folder(path, target, layout, overwrite)
    with _errors_named(path):
        target.parent.mkdir(parents=True, exist_ok=True)
        _clear_parts(path, target, overwrite)
        temporary, lock = _locked_part(target)
        try:
            yield temporary
            _sync_all(temporary)
            _refuse_folder(path, target, layout, overwrite)  # it may have come meanwhile
            _publish(temporary, path, target)
            _sync(target.parent)
        except OutputError as error:  # of a file within: name it where it would have been
            raise OutputError(str(error).replace(str(temporary), str(path))) from error
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
            os.close(lock)


def _target(path: Path) -> Path:
    """Where an output goes: links are followed, and `..` and `.` are no names.

    Raises:
        OutputError: a link leads nowhere, or the path cannot be one.
    """
    with _errors_named(path):
        try:
            target = Path(os.path.realpath(path))
            there = target.exists()
        except ValueError as error:
            raise OutputError(f"{path} is no path: {error}; choose another output") from error
    if path.is_symlink() and not there:
        raise OutputError(
            f"{path} is a link to {target}, which is not there; choose another output"
        )
    return target


def _refuse_inputs(path: Path, target: Path, inputs: list[Path]) -> None:
    """Refuse to replace an input, or a folder that holds one."""
    check_no_input(path, inputs)
    for given in inputs:
        if target in Path(os.path.realpath(given)).parents:
            raise OutputError(f"{path} holds the input {given}; choose another output")


def _refuse_within(path: Path, target: Path, inputs: list[Path]) -> None:
    """Refuse to replace a file of an input, or to add to one that is whole, as a bag is."""
    for given in inputs:
        source = Path(os.path.realpath(given))
        if source in target.parents and (target.is_file() or _is_unit(source)):
            raise OutputError(f"{path} lies within the input {given}; choose another output")


def _is_unit(folder: Path) -> bool:
    """Whether a folder is one thing, such as a bag or a map, to which nothing may be added."""
    return any((folder / name).exists() for name in ("metadata.yaml", "meta.json"))


def _refuse_file(path: Path, target: Path, overwrite: bool) -> None:
    with _errors_named(path):
        try:
            mode = target.stat().st_mode
        except (FileNotFoundError, NotADirectoryError):
            return
    if stat.S_ISDIR(mode):
        raise OutputError(f"{path} is a folder; name a file for the output")
    if not stat.S_ISREG(mode):
        raise OutputError(f"{path} is no file but a device or a pipe; choose another output")
    if not overwrite:
        raise _exists(path)


def _refuse_folder(path: Path, target: Path, layout: Layout, overwrite: bool) -> None:
    with _errors_named(path):
        if not target.exists():
            return
        if target.is_mount():
            raise OutputError(f"{path} is a mount point; name a folder within it for the output")
    if not overwrite:
        raise _exists(path)
    if not target.is_dir():
        raise OutputError(f"{path} is a file; name a folder for the output")
    foreign = layout.foreign(target)
    if foreign is not None:
        raise OutputError(
            f"{path} is not replaced: it holds {foreign}, which this command does not write; "
            "remove it yourself or choose another output"
        )


def _exists(path: Path) -> OutputError:
    return OutputError(f"{path} exists already; choose another output or pass --overwrite")


def _try_to_write(path: Path, target: Path) -> None:
    with _errors_named(path):
        with suppress(FileNotFoundError):  # the error of a name that is too long
            target.lstat()
        there = next(parent for parent in target.parents if parent.exists())
        trial = there / f".{secrets.token_hex(4)}{_PART}"
        trial.mkdir()
        trial.rmdir()


def _locked_part(target: Path) -> tuple[Path, int]:
    """A new folder beside the target, and the descriptor that holds its lock."""
    while True:
        part = target.with_name(f".{target.name}-{secrets.token_hex(4)}{_PART}")
        part.mkdir()
        descriptor = os.open(part, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if part.exists():
                return part, descriptor
        except BlockingIOError:
            pass  # another run takes it for a left one, and removes it
        except OSError:  # no locks here, as on some network file systems: nothing is cleared
            return part, descriptor
        os.close(descriptor)


def _clear_parts(path: Path, target: Path, overwrite: bool) -> None:
    """Remove what killed runs left of the target.

    Raises:
        OutputError: another run writes it now, and would be overwritten or overwrite.
    """
    for part in target.parent.glob(f".{escape(target.name)}-{'[0-9a-f]' * 8}{_PART}"):
        try:
            descriptor = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        except OSError:
            continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(part, ignore_errors=True)
        except BlockingIOError:
            if not overwrite:
                raise OutputError(
                    f"{path} is being written by another run; choose another output"
                ) from None
        except OSError:
            continue
        finally:
            os.close(descriptor)


def _publish(new: Path, path: Path, target: Path) -> None:
    """Rename a folder to the target; one that is there goes."""
    if not target.exists():
        try:
            new.rename(target)
        except OSError as error:
            if error.errno in _TAKEN:  # by another run, since
                raise _exists(path) from error
            raise
        return
    old = target.with_name(f".{target.name}-{secrets.token_hex(4)}{_OLD}")
    target.rename(old)
    try:
        new.rename(target)
    except OSError:
        old.rename(target)
        raise
    shutil.rmtree(old)


def _place(temporary: Path, path: Path, target: Path) -> None:
    """Give a file its name, unless it is taken."""
    try:
        try:
            os.link(temporary, target)
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
            temporary.replace(target)
    except FileExistsError as error:
        raise _exists(path) from error


def _sync(path: Path) -> None:
    """Wait until a file's content, or a folder's names, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno != errno.EINVAL:  # some file systems cannot, of folders
            raise
    finally:
        os.close(descriptor)


def _sync_all(folder: Path) -> None:
    """Wait until a folder's files are on the disk.

    By the file system as a whole: 3,000 label images take 0.2 s so, and 12 s one by one.
    """
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        if ctypes.CDLL(None, use_errno=True).syncfs(descriptor) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
    finally:
        os.close(descriptor)


@contextmanager
def _errors_named(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise OutputError(
            f"cannot write {path}: {reason}; free space or choose another output"
        ) from error
