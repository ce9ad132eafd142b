"""Fuzz the readers and print what came of it: `python -m fuzzing --count 200000 --seed 1`."""

import argparse
import sys
import time
from pathlib import Path

import cv2

from fuzzing.oracle import Reader, Tally, fuzz
from fuzzing.readers import READERS

_COLUMNS = dict.fromkeys(("inputs", "refused", "read", "escaped", "slowest s", "MiB", "took s"), 9)
_COLUMNS["slowest s"] = 11


def shares(readers: list[Reader], count: int) -> dict[str, int]:
    """How many of so many inputs each reader gets."""
    total = sum(reader.weight for reader in readers)
    return {reader.name: max(1, round(count * reader.weight / total)) for reader in readers}


def row(name: str, tally: Tally, seconds: float) -> str:
    """A reader's line of the table."""
    read = tally.inputs - tally.refused - len(tally.escapes)
    numbers = f"{tally.inputs:>9}{tally.refused:>9}{read:>9}{len(tally.escapes):>9}"
    return f"{name:<22}{numbers}{tally.slowest_s:>11.2f}{tally.memory_mib:>9.0f}{seconds:>9.0f}"


def main() -> int:
    """Run; 1 if an input escaped."""
    parser = argparse.ArgumentParser(prog="python -m fuzzing", description=__doc__)
    parser.add_argument("--count", type=int, default=200_000, help="inputs, over all readers")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="number of each reader's first input")
    parser.add_argument("--reader", action="append", choices=sorted(READERS), help="only this one")
    parser.add_argument("--failures", type=Path, default=Path("build/fuzz"), help="for escapes")
    asked = parser.parse_args()
    cv2.setNumThreads(1)  # threads do not survive a fork
    readers = [READERS[name] for name in asked.reader or READERS]
    print(f"{'reader':<22}" + "".join(f"{name:>{width}}" for name, width in _COLUMNS.items()))
    total, begin = Tally(), time.monotonic()
    for name, count in shares(readers, asked.count).items():
        start = time.monotonic()
        numbers = range(asked.first, asked.first + count)
        tally = fuzz(READERS[name], asked.seed, numbers, asked.failures)
        print(row(name, tally, time.monotonic() - start), flush=True)
        for escape in tally.escapes:
            print(f"    {name} --seed {asked.seed} --first {escape.index} --count 1: {escape.what}")
            total.escapes.append(escape)
        total.inputs, total.refused = total.inputs + tally.inputs, total.refused + tally.refused
        total.slowest_s = max(total.slowest_s, tally.slowest_s)
        total.memory_mib = max(total.memory_mib, tally.memory_mib)
    print(row("all", total, time.monotonic() - begin))
    return 1 if total.escapes else 0


if __name__ == "__main__":
    sys.exit(main())
