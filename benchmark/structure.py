"""The shape of the house as a table: python benchmark/structure.py CHECKOUT [CHECKOUT].

Of each checkout (before and after, say): files and lines of every package, lengths of functions,
files that a step of the pipeline pulls in, words of the README, times of the first things that a
user runs, and sizes of environments that are named by --robot and --full.
"""

import ast
import os
import statistics
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

RUNS = 5
FOLDERS = ("fgsn_ros", "test", "benchmark", "examples")
STEPS = {
    "`Segmenter.segment`": "fgsn_ros.segmentation.segmenter",
    "`fgsn localize`": "fgsn_ros.commands.localize",
}
COMMANDS = {
    "`import fgsn_ros`": ["-c", "import fgsn_ros"],
    "`fgsn --help`": ["-m", "fgsn_ros.cli", "--help"],
}

Rows = dict[str, str]


@dataclass(frozen=True)
class Structure:
    """Table of a checkout's shape, or of several beside one another."""

    checkouts: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """folders of checkouts, of this layout or an older one"""
    robot: tuple[Path, ...] = ()
    """a robot's environment of each checkout"""
    full: tuple[Path, ...] = ()
    """each checkout's environment with all extras"""

    def run(self) -> None:
        """Print the table."""
        roots = [checkout.resolve() for checkout in self.checkouts]
        columns = [structure(root) for root in roots]
        for name, venvs in (("a robot", self.robot), ("all extras", self.full)):
            for column, venv in zip(columns, venvs, strict=False):
                column[f"install of {name}"] = f"{installed_mb(venv)} MB"
        print(table([root.name for root in roots], columns))


def structure(root: Path) -> Rows:
    """Rows of one checkout, by name."""
    return {**sizes(root), **functions(root), **steps(root), **readme(root), **times(root)}


def table(names: Sequence[str], columns: Sequence[Rows]) -> str:
    """Markdown; a row that one checkout lacks is empty there."""
    rooms = sorted({row for column in columns for row in column if row.startswith("`fgsn_ros/")})
    rows = dict.fromkeys([*rooms, *(row for column in columns for row in column)])
    lines = [f"| | {' | '.join(names)} |", f"| --- |{' ---: |' * len(names)}"]
    for row in rows:
        lines.append(f"| {row} | {' | '.join(column.get(row, '') for column in columns)} |")
    return "\n".join(lines)


def sizes(root: Path) -> Rows:
    """Files and lines of each folder of Python, and of each package of fgsn_ros."""
    package = root / "fgsn_ros"
    rooms = sorted(path for path in package.iterdir() if any(path.glob("*.py")))
    rows = {f"`{name}` files, lines": root / name for name in FOLDERS}
    rows |= {f"`fgsn_ros/{room.name}` files, lines": room for room in rooms}
    return {name: _size(folder) for name, folder in rows.items() if folder.is_dir()}


def _size(folder: Path) -> str:
    texts = [path.read_text(encoding="utf-8") for path in folder.rglob("*.py")]
    return f"{len(texts)}, {sum(len(text.splitlines()) for text in texts)}"


def functions(root: Path) -> Rows:
    """Lengths of the package's functions and methods, in lines."""
    lengths = sorted(
        (node.end_lineno or node.lineno) - node.lineno + 1
        for path in (root / "fgsn_ros").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    )
    ninth = lengths[int(0.9 * (len(lengths) - 1))]
    text = f"{statistics.median(lengths):.0f} / {ninth} / {lengths[-1]}"
    return {"functions": str(len(lengths)), "their lines: median / 90 % / longest": text}


def steps(root: Path) -> Rows:
    """Files of the package that each step pulls in, imports within functions included."""
    return {
        f"files behind {name}": str(len(pulled_in(root, entry))) for name, entry in STEPS.items()
    }


def pulled_in(root: Path, entry: str) -> set[Path]:
    """Files with code that a module imports, directly or not."""
    found: set[Path] = set()
    seen: set[str] = set()
    waiting = [entry]
    while waiting:
        name = waiting.pop()
        path = root.joinpath(*name.split("."))
        files = (path.with_suffix(".py"), path / "__init__.py")
        file = next((file for file in files if file.is_file()), None)
        if name in seen or file is None:
            continue
        seen.add(name)
        tree = ast.parse(file.read_text(encoding="utf-8"))
        if len(tree.body) > 1:  # more than a docstring
            found.add(file)
        waiting += [*_imports(tree), name.rpartition(".")[0] or name]
    return found


def _imports(node: ast.AST) -> Iterator[str]:
    """Names of this package's modules, perhaps followed by a name in them."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            continue
        if isinstance(child, ast.Import):
            yield from (alias.name for alias in child.names if alias.name.startswith("fgsn_ros."))
        elif isinstance(child, ast.ImportFrom) and (child.module or "").startswith("fgsn_ros"):
            yield child.module or ""
            yield from (f"{child.module}.{alias.name}" for alias in child.names)
        yield from _imports(child)


def readme(root: Path) -> Rows:
    """Words of the README."""
    return {"words of the README": str(len((root / "README.md").read_text("utf-8").split()))}


def times(root: Path) -> Rows:
    """Processor time of what a user runs first, beyond that of an empty Python."""
    empty = _seconds(root, ["-c", ""])
    taken = {name: _seconds(root, arguments) - empty for name, arguments in COMMANDS.items()}
    return {f"time of {name}": f"{1000 * seconds:.0f} ms" for name, seconds in taken.items()}


def _seconds(root: Path, arguments: Sequence[str]) -> float:
    """Median processor time [s] of some runs of this Python, from outside of any checkout."""
    environment = os.environ | {"PYTHONPATH": str(root)}
    taken = []
    for _ in range(RUNS):
        process = subprocess.Popen(
            [sys.executable, *arguments], env=environment, cwd="/", stdout=subprocess.DEVNULL
        )
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise SystemExit(f"{root}: python {' '.join(arguments)} failed")
        taken.append(usage.ru_utime + usage.ru_stime)
    return statistics.median(taken)


def installed_mb(venv: Path) -> int:
    """Size of an environment's packages, on disk [MB]."""
    paths = [*venv.glob("lib/python*/site-packages/**/*")]
    files = {(path.lstat().st_dev, path.lstat().st_ino): path.lstat() for path in paths}
    return round(sum(status.st_blocks * 512 for status in files.values()) / 2**20)


if __name__ == "__main__":
    tyro.cli(Structure, description=__doc__).run()
