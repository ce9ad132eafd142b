"""All speed benchmarks, run one after the other, and the page that holds their tables.

    python benchmark/page.py

Writes docs/benchmarks.md: the machine, and of each benchmark what was measured, its table and the
command that repeats it. Run it on a machine that does nothing else.
"""

import os
import platform
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import torch
import tyro

from fgsn_ros.outputs import whole_file

_HERE = Path(__file__).parent


@dataclass(frozen=True)
class Section:
    """A benchmark and its part of the page."""

    script: str
    title: str
    text: str


SECTIONS = (
    Section(
        "whole_line",
        "A recording, from images to poses",
        "How fast `fgsn localize` goes through a recorded drive, and what each step takes.",
    ),
    Section(
        "networks",
        "Which network on which computer",
        "Label maps per second by network, backend and image size.",
    ),
    Section(
        "particle_sweep",
        "How many particles",
        "Time and memory of a frame in the filter, and the error that is left.",
    ),
    Section(
        "frame_steps",
        "The steps of a frame",
        "What each step of the filter takes, beside arrays alone and beside what it cannot save.",
    ),
    Section(
        "measurement_kernel",
        "The measurement kernel",
        "Map points projected into the image for each particle, their labels looked up.",
    ),
    Section(
        "map_sweep",
        "How large a map",
        "Opening a map, and choosing a frame's points from it, whatever its size.",
    ),
)


@dataclass(frozen=True)
class Page:
    """Run the benchmarks and write the page."""

    output: Path = Path("docs/benchmarks.md")
    """page to write"""
    results: Path = Path("benchmark/results")
    """folder of the benchmarks' tables"""
    again: bool = True
    """run the benchmarks; else take the tables that are there"""

    def run(self) -> None:
        """Run, collect, write."""
        if self.again:
            for section in SECTIONS:
                command = [sys.executable, _HERE / f"{section.script}.py", "--output", self.results]
                subprocess.run(command, check=True)
        parts = [_head(), *map(self._part, SECTIONS)]
        with whole_file(self.output) as temporary:
            temporary.write_text("\n\n".join(parts) + "\n", encoding="utf-8")

    def _part(self, section: Section) -> str:
        table = (self.results / f"{section.script}.md").read_text(encoding="utf-8").strip()
        command = f"`python benchmark/{section.script}.py`"
        return f"## {section.title}\n\n{section.text} Repeat it with {command}.\n\n{table}"


def _head() -> str:
    return (
        "# Benchmarks\n\n"
        "What each part costs, measured beside a reference in the same run and beside what the "
        "machine could do at best. `make bench` repeats all of it and writes this page anew; "
        "the scripts are told of in `benchmark/README.md`.\n\n"
        f"Measured on: {_machine()}."
    )


def _machine() -> str:
    memory_gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    cores = len(os.sched_getaffinity(0))
    return (
        f"{_cpu()}, {cores} cores, {memory_gib:.0f} GiB of memory, {gpu}; "
        f"Python {platform.python_version()}, PyTorch {torch.__version__}"
    )


def _cpu() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.machine()


if __name__ == "__main__":
    tyro.cli(Page, description=__doc__).run()
