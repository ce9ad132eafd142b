"""What a reader owes any input: it returns or raises FgsnError, in 1 GiB and 10 s.

Inputs are read in a process of their own: one that dies, hangs or takes memory is ended, named, and
the next goes on after it. The error must be one printable, short line.
"""

import faulthandler
import json
import logging
import os
import select
import shutil
import signal
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import fgsn_ros
from fgsn_ros.errors import FgsnError

MEMORY_MIB = 1024
CPU_S = 10.0
WALL_S = 120.0
"""Of one input: the machine may be busy; one that waits for ever is ended all the same."""
LONGEST_LINE = 1200

_NO_INPUT = "no input: "

Files = dict[str, bytes]
"""An input: the content of each file by its path."""


@dataclass(frozen=True)
class Reader:
    """Something that reads."""

    name: str
    seeds: Callable[[], list[Files]]
    """valid inputs"""
    mutate: Callable[[Random, Files, list[Files]], Files]
    """a damaged copy of an input, given all valid ones"""
    read: Callable[[Path], object]
    """reads an input from its folder"""
    weight: float = 1.0
    """share of the inputs, relative to others: less for slow ones"""
    reads_valid: bool = True
    """whether some of the valid inputs are read; weights of no network are refused in the end"""
    reads_valid: bool = True
    """whether some of the valid inputs are read; weights of no network are refused in the end"""


@dataclass
class Outcome:
    """What became of one input."""

    index: int
    kind: str
    """read, refused or escaped"""
    seconds: float
    memory_mib: float
    what: str = ""
    """of an escape: what came out, and where"""


@dataclass
class Tally:
    """What became of a reader's inputs."""

    inputs: int = 0
    refused: int = 0
    slowest_s: float = 0.0
    memory_mib: float = 0.0
    escapes: list[Outcome] = field(default_factory=list)

    def add(self, outcome: Outcome) -> None:
        """Count one."""
        self.inputs += 1
        self.refused += outcome.kind == "refused"
        self.slowest_s = max(self.slowest_s, outcome.seconds)
        self.memory_mib = max(self.memory_mib, outcome.memory_mib)
        if outcome.kind == "escaped":
            self.escapes.append(outcome)


def made_input(reader: Reader, seeds: list[Files], seed: int, index: int) -> Files:
    """The input of a number: the same for a seed, whatever was read before; the first are valid."""
    if index < len(seeds):
        return dict(seeds[index])
    rng = Random(f"{reader.name} {seed} {index}")
    return reader.mutate(rng, dict(rng.choice(seeds)), seeds)


def fuzz(
    reader: Reader, seed: int, numbers: range, failures: Path | None = None, most: int = 20
) -> Tally:
    """Read the inputs of these numbers; those that escape are written to a folder, if one is named.

    Ends after `most` escapes.
    """
    seeds, tally = reader.seeds(), Tally()
    for outcome in _outcomes(reader, seeds, seed, numbers):
        if outcome.what.startswith(_NO_INPUT):
            raise RuntimeError(f"{reader.name} {seed} {outcome.index}: {outcome.what}")
        tally.add(outcome)
        if outcome.kind == "escaped" and failures is not None:
            _keep(failures, reader, seeds, seed, outcome)
        if len(tally.escapes) >= most:
            break
    return tally


def _keep(failures: Path, reader: Reader, seeds: list[Files], seed: int, outcome: Outcome) -> None:
    folder = failures / f"{reader.name}-{seed}-{outcome.index}"
    shutil.rmtree(folder, ignore_errors=True)
    write_files(folder, made_input(reader, seeds, seed, outcome.index))
    again = f"--reader {reader.name} --seed {seed} --first {outcome.index} --count 1"
    (folder / "what.txt").write_text(f"{outcome.what}\npython -m fuzzing {again}\n")


def made(write: Callable[[Path], object]) -> Files:
    """What a writer of the package writes into a folder."""
    with tempfile.TemporaryDirectory() as scratch:
        write(Path(scratch))
        return files_of(Path(scratch))


def files_of(folder: Path) -> Files:
    """The files below a folder."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def write_files(folder: Path, files: Files) -> None:
    """Write an input."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def _outcomes(reader: Reader, seeds: list[Files], seed: int, numbers: range) -> Iterator[Outcome]:
    """Outcomes of the inputs in order, over as many processes as it takes."""
    following = numbers.start
    while following < numbers.stop:
        for outcome in _of_process(reader, seeds, seed, range(following, numbers.stop)):
            yield outcome
            following = outcome.index + 1


def _of_process(reader: Reader, seeds: list[Files], seed: int, numbers: range) -> Iterator[Outcome]:
    """Outcomes of one process, the last being of the input that it was ended for."""
    theirs, ours = os.pipe()
    process = os.fork()
    if process == 0:
        os.close(theirs)
        _work(reader, seeds, seed, numbers, ours)
    os.close(ours)
    index = numbers.start
    try:
        with open(theirs, "rb", buffering=0) as pipe:
            for line in _lines(pipe, process):
                if line.startswith(b"{"):
                    outcome = Outcome(**json.loads(line))
                    index = outcome.index + 1
                    yield outcome
                else:
                    _, status = os.waitpid(process, 0)
                    process = 0
                    if index < numbers.stop:
                        yield Outcome(index, "escaped", 0.0, 0.0, line.decode() or _end(status))
                    return
    finally:
        if process:
            os.kill(process, signal.SIGKILL)
            os.waitpid(process, 0)


def _end(status: int) -> str:
    if os.WIFSIGNALED(status):
        return f"the process died of {signal.Signals(os.WTERMSIG(status)).name}"
    return f"the process ended itself with {os.waitstatus_to_exitcode(status)}"


def _lines(pipe, process: int) -> Iterator[bytes]:
    """What a process tells, then why it was ended; nothing if it ended itself."""
    told, since, cpu_since = b"", time.monotonic(), _cpu_s(process)
    while True:
        if select.select([pipe], [], [], 0.05)[0]:
            part = os.read(pipe.fileno(), 1 << 16)
            if not part:
                yield b""
                return
            *lines, told = (told + part).split(b"\n")
            yield from lines
            since, cpu_since = time.monotonic(), _cpu_s(process)
        elif reason := _excess(process, time.monotonic() - since, cpu_since):
            os.kill(process, signal.SIGKILL)
            yield reason
            return


def _excess(process: int, wall_s: float, cpu_since: float) -> bytes:
    used_mib, cpu_s = _resident_mib(process), _cpu_s(process) - cpu_since
    if used_mib > 2 * MEMORY_MIB + _resident_mib(os.getpid()):
        return f"more than {2 * MEMORY_MIB} MiB".encode()
    if cpu_s > 2 * CPU_S or wall_s > WALL_S:
        return f"not done after {cpu_s:.0f} s".encode()
    return b""


def _cpu_s(process: int) -> float:
    try:
        columns = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(columns[11]) + int(columns[12])) / os.sysconf("SC_CLK_TCK")


def _resident_mib(process: int) -> float:
    try:
        return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * 4096 / 2**20
    except (OSError, IndexError):
        return 0.0


# ---- in the process that reads


class _Logged(logging.Handler):
    """Takes what is logged: to make its text must not fail."""

    def emit(self, record: logging.LogRecord) -> None:
        record.getMessage()


def _work(reader: Reader, seeds: list[Files], seed: int, numbers: range, pipe: int) -> None:
    """Read the inputs and tell what became of each; does not return."""
    code, scratch = 1, _scratch()
    try:
        faulthandler.disable()  # of a crash, the signal says enough
        nothing = os.open(os.devnull, os.O_RDWR)
        for descriptor in (0, 1, 2):  # libraries write to them
            os.dup2(nothing, descriptor)
        logging.getLogger().addHandler(_Logged())
        os.chdir(scratch)
        for index in numbers:
            try:
                files = made_input(reader, seeds, seed, index)
                folder = scratch / "input"
                write_files(folder, files)
            except Exception:  # the fuzzer's own fault
                outcome = Outcome(index, "escaped", 0.0, 0.0, _NO_INPUT + traceback.format_exc())
            else:
                outcome = _attempt(reader, index, folder)
            shutil.rmtree(folder, ignore_errors=True)
            os.write(pipe, json.dumps(outcome.__dict__).encode() + b"\n")
        code = 0
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
        os._exit(code)


def _scratch() -> Path:
    in_memory = Path("/dev/shm")
    return Path(tempfile.mkdtemp("-fuzz", dir=in_memory if os.access(in_memory, os.W_OK) else None))


def _attempt(reader: Reader, index: int, folder: Path) -> Outcome:
    before_mib, start = _reset_peak(), time.process_time()
    try:
        reader.read(folder)
        kind, what = "read", ""
    except FgsnError as error:
        kind, what = "refused", _wrong_line(str(error))
        if what:
            what += _place(error)
    except BaseException as error:
        kind, what = "escaped", f"{type(error).__name__}: {str(error)[:300]!r}{_place(error)}"
    seconds, memory_mib = time.process_time() - start, _peak_mib() - before_mib
    if memory_mib > MEMORY_MIB or seconds > CPU_S:
        what = f"{memory_mib:.0f} MiB, {seconds:.1f} s; {kind} {what}"
    return Outcome(index, "escaped" if what else kind, seconds, memory_mib, what)


def _wrong_line(line: str) -> str:
    if len(line) > LONGEST_LINE:
        return f"a line of {len(line)} characters: {line[:200]!r}"
    if not line.isprintable() or not line.strip():
        return f"a line that is not printable: {line[:300]!r}"
    return ""


def _place(error: BaseException) -> str:
    """Where in the package an error arose."""
    root = Path(fgsn_ros.__file__).parent
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if Path(frame.filename).is_relative_to(root):
            return f" @ {Path(frame.filename).relative_to(root)}:{frame.lineno}"
    return ""


def _reset_peak() -> float:
    """Forget the largest memory of this process; what it takes now [MiB]."""
    Path("/proc/self/clear_refs").write_text("5")
    return _peak_mib()


def _peak_mib() -> float:
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024
