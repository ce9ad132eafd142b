"""What the documentation says is so: its links, its commands, the errors it quotes, its build."""

import ast
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

import fgsn_ros
from fgsn_ros import cli

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
PAGES = [README, *(ROOT / name for name in ("CONTRIBUTING.md", "benchmark/README.md"))]
PAGES += sorted((ROOT / "docs").rglob("*.md"))
MOST_WORDS = 900
VALUE = "1"
"""Stands for what a reader puts in place of WORDS_LIKE_THIS: a path and a number alike."""
AN_ERROR = re.compile(r"```text\n(.*?)\n *```", re.DOTALL)

pages = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


def code_lines(text: str) -> Iterator[str]:
    """Lines of code blocks, fenced or indented, and inline code; continued lines joined."""
    text = text.replace("\\\n", " ")
    fenced = re.compile(r"^ *```.*?^ *```", re.DOTALL | re.MULTILINE)
    for block in fenced.findall(text):
        yield from block.splitlines()[1:-1]
    rest = fenced.sub("", text)
    yield from (line for line in rest.splitlines() if line.startswith("    "))
    yield from re.findall(r"(?<!`)`([^`]+)`(?!`)", rest)


def commands(text: str) -> Iterator[list[str]]:
    """Words of each `fgsn COMMAND --flag ...` in the text, `fgsn` left out."""
    for line in code_lines(text):
        words = shlex.split(line.strip(), comments=True) if "fgsn " in line else []
        if "fgsn" in words and any(word.startswith("--") for word in words):
            yield words[words.index("fgsn") + 1 :]


def test_the_readme_is_short() -> None:
    assert len(README.read_text(encoding="utf-8").split()) <= MOST_WORDS


@pages
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        path, _, anchor = target.partition("#")
        if "://" in target or not path:
            continue
        linked = (page.parent / path).resolve()
        assert linked.exists(), target
        if anchor:
            assert anchor in anchors(linked.read_text(encoding="utf-8")), target


def anchors(text: str) -> set[str]:
    """Anchors of the headings, as code hosts and MkDocs make them."""
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    plain = (re.sub(r"[^\w\s-]", "", heading.lower()).strip() for heading in headings)
    return {re.sub(r"\s", "-", heading) for heading in plain}


@pages
def test_commands_and_their_flags_are_those_of_the_command_line(
    page: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)  # configurations are named from here
    for words in commands(page.read_text(encoding="utf-8")):
        if words == ["--help"] or words == ["--version"]:
            continue
        length = 2 if " ".join(words[:2]) in cli.COMMANDS else 1
        name, arguments = " ".join(words[:length]), words[length:]
        assert name in cli.COMMANDS, f"fgsn {' '.join(words)}"
        if arguments != ["--help"]:
            check_parses(name, [VALUE if re.fullmatch("[A-Z_]+", w) else w for w in arguments])


def check_parses(name: str, arguments: list[str]) -> None:
    """Parse arguments; `...` stands for those that are left out, required ones too."""
    try:
        cli._parse(name, [word for word in arguments if word != "..."])
    except SystemExit:
        wrong = f"fgsn {name} {' '.join(arguments)}"
        assert "..." in arguments, f"{wrong}: the command line refuses it"
        for flag in (word for word in arguments if word.startswith("--")):
            assert flag in flags(name), f"{wrong}: there is no {flag}"


def flags(name: str) -> set[str]:
    """Every flag that a command's help shows."""
    script = "import sys; from fgsn_ros import cli; sys.exit(cli.main())"
    shown = subprocess.run(
        [sys.executable, "-c", script, *name.split(), "--help"],
        capture_output=True,
        text=True,
        env={**os.environ, "COLUMNS": "200"},
        cwd=ROOT,
    )
    return set(re.findall(r"--[a-z][\w.-]*", shown.stdout))


@pages
def test_files_that_are_named_are_there(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for name in re.findall(r"`((?:[\w-]+/)+[\w-]+\.(?:py|sh|md))`", text):
        assert any((folder / name).exists() for folder in (ROOT, ROOT / "fgsn_ros")), name


@pages
def test_names_of_the_library_are_there(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    names = [name for line in code_lines(text) for name in re.findall(r"\bfgsn_ros\.(\w+)", line)]
    names += re.findall(r"^::: fgsn_ros\.(\w+)$", text, re.MULTILINE)
    for name in set(names) - {"launch", "cli"}:
        assert hasattr(fgsn_ros, name), name


def test_quoted_errors_are_those_that_the_package_says() -> None:
    said = {text for path in (ROOT / "fgsn_ros").rglob("*.py") for text in strings(path)}
    page = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
    quotes = [line for block in AN_ERROR.findall(page) for line in block.splitlines()]
    quotes += re.findall(r"^ {8}(\S.*)$", page, re.MULTILINE)
    assert len(quotes) > 20
    for quote in quotes:
        pieces = [re.escape(piece) for piece in quote.split("...")]
        expected = re.compile(r"\N{REPLACEMENT CHARACTER}?".join(pieces))
        assert any(expected.search(text) for text in said), quote


def strings(path: Path) -> Iterator[str]:
    """The file's strings; a replacement character stands for each value put into one."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.JoinedStr):
            yield "".join(
                part.value if isinstance(part, ast.Constant) else "\N{REPLACEMENT CHARACTER}"
                for part in node.values
            )
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def test_the_site_is_built_without_a_warning(tmp_path: Path) -> None:
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", tmp_path / "site"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert built.returncode == 0, built.stderr
    fetched = re.compile(r'(?:src|href)="https?://[^"]+\.(?:js|css|woff2?)"')
    for page in (tmp_path / "site").rglob("*.html"):
        assert not fetched.search(page.read_text(encoding="utf-8")), f"{page} needs the network"


def test_pictures_come_from_scripts_or_are_screenshots() -> None:
    folder = ROOT / "docs" / "pictures"
    paths = [*folder.glob("*.py"), *(ROOT / "benchmark").glob("*.py")]
    scripts = "\n".join(path.read_text(encoding="utf-8") for path in paths)
    screenshots = {"rviz.png", "view.png"}
    for picture in {path.name for path in folder.glob("*.png")} - screenshots:
        assert picture in scripts, picture


def test_the_citation_says_what_is_cited() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert {"cff-version", "message", "title", "authors", "version"} <= set(citation)
    assert f'version="{citation["version"]}"' in (ROOT / "setup.py").read_text()
    cited = [work["identifiers"][0]["value"] for work in citation["references"]]
    assert {"arXiv:1908.06387", "arXiv:1801.05269"} <= set(cited)
