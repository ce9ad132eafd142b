"""Damaged and hostile inputs of every reader, some thousands; `make fuzz` tries many more."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from fuzzing import oracle
from fuzzing.oracle import Reader, fuzz
from fuzzing.readers import READERS

from fgsn_ros.errors import FgsnError

NAMES = sorted(READERS)
GROUPS = [NAMES[start::2] for start in range(2)]
COUNT = 1200
"""Of each group."""


@pytest.mark.parametrize("names", GROUPS, ids="-".join)
def test_any_input_is_read_or_refused_in_one_line(names: list[str], tmp_path: Path) -> None:
    # in a process of its own: this one may have threads, which a fork would lose
    options = [option for name in names for option in ("--reader", name)]
    command = [sys.executable, "-m", "fuzzing", *options, "--count", str(COUNT)]
    path = os.pathsep.join((str(Path(__file__).parent), *filter(None, sys.path)))
    environment = {**os.environ, "PYTHONPATH": path}
    done = subprocess.run(
        [*command, "--failures", str(tmp_path)], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", [name for name in NAMES if READERS[name].reads_valid])
def test_what_is_damaged_was_whole(name: str) -> None:
    seeds = READERS[name].seeds()
    tally = fuzz(READERS[name], 0, range(len(seeds)))
    assert not tally.escapes
    assert tally.refused < tally.inputs


def reading(read, **options) -> Reader:
    def mutate(rng, files, seeds):
        return {"a": rng.randbytes(4)}

    return Reader("made", lambda: [{"a": b""}], mutate, read, **options)


def raised(error: BaseException):
    def read(_: Path) -> None:
        raise error

    return read


@pytest.mark.parametrize(
    ("read", "what"),
    [
        (raised(KeyError("x")), "KeyError"),
        (raised(RecursionError()), "RecursionError"),
        (lambda _: os.kill(os.getpid(), signal.SIGSEGV), "SIGSEGV"),
        (lambda _: os._exit(3), "ended itself with 3"),
        (lambda _: np.ones(20_000_000), "MiB"),
        (lambda _: np.zeros((300, 300)) ** sum(range(10**9)), "not done"),
    ],
    ids=["error", "recursion", "crash", "exit", "memory", "time"],
)
def test_the_oracle_names_what_escapes(read, what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(oracle, "MEMORY_MIB", 100)
    monkeypatch.setattr(oracle, "CPU_S", 0.5)
    tally = fuzz(reading(read), 0, range(1))
    assert [outcome.index for outcome in tally.escapes] == [0]
    assert what in tally.escapes[0].what


def test_an_error_in_one_line_is_no_escape_and_one_in_many_is() -> None:
    assert fuzz(reading(raised(FgsnError("what is wrong"))), 0, range(2)).refused == 2

    class RawError(FgsnError):
        def __str__(self) -> str:
            return "\x1b[2J"

    assert "not printable" in fuzz(reading(raised(RawError())), 0, range(1)).escapes[0].what


def test_an_input_comes_again_by_its_number_whatever_was_read_before() -> None:
    for name in ("image", "saved_pose", "mcap_fields"):
        reader = READERS[name]
        seeds = reader.seeds()
        inputs = [oracle.made_input(reader, seeds, 3, index) for index in (30, 31, 30)]
        assert inputs[0] == inputs[2] != inputs[1]


def test_what_escaped_is_kept_with_how_to_repeat_it(tmp_path: Path) -> None:
    tally = fuzz(reading(raised(KeyError("x"))), 5, range(3), tmp_path)
    assert len(tally.escapes) == 3
    folder = tmp_path / "made-5-2"
    assert (folder / "a").stat().st_size == 4
    assert "--reader made --seed 5 --first 2" in (folder / "what.txt").read_text()
