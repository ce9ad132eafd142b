"""The nodes' parameters as the documentation and the parameter file tell of them."""

import runpy
from pathlib import Path

import pytest

from fgsn_ros.config import leaves, load_yaml, nested, override
from fgsn_ros.nodes.settings import LOCALIZATION_PARAMETERS, SEGMENTATION_PARAMETERS

ROOT = Path(__file__).parents[1]
TOOL = runpy.run_path(str(ROOT / "tools" / "parameter_table.py"))
DECLARED = {
    "/**/segmentation_node": SEGMENTATION_PARAMETERS,
    "/**/localization_node": LOCALIZATION_PARAMETERS,
}


def flattened(values: dict[str, object], prefix: str = "") -> dict[str, object]:
    flat: dict[str, object] = {}
    for name, value in values.items():
        if isinstance(value, dict):
            flat |= flattened(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = value
    return flat


def given_to(node: str) -> dict[str, object]:
    """Dotted names and values that the parameter file gives a node."""
    content = load_yaml(ROOT / "config" / "localize.yaml")[node]
    assert isinstance(content, dict)
    assert list(content) == ["ros__parameters"]
    return flattened(content["ros__parameters"])


def test_the_pages_tables_are_up_to_date() -> None:
    page = TOOL["PAGE"].read_text(encoding="utf-8")
    assert TOOL["BEGIN"] in page
    assert TOOL["renewed"](page) == page, "run python tools/parameter_table.py"


def test_every_parameter_has_a_row_that_says_what_it_means() -> None:
    rows = [line.split(" | ") for line in TOOL["tables"]().splitlines()]
    meanings = [(row[0].strip("| `"), row[2]) for row in rows if len(row) == 4]
    for declared in DECLARED.values():
        for settings, _ in declared:
            for leaf in leaves(settings):
                assert (leaf.name, leaf.description) in meanings
                assert leaf.description


def test_no_two_settings_of_a_node_declare_one_name() -> None:
    for declared in DECLARED.values():
        names = [leaf.name for settings, _ in declared for leaf in leaves(settings)]
        assert len(set(names)) == len(names)


def test_the_parameter_file_is_for_the_nodes_alone() -> None:
    assert set(load_yaml(ROOT / "config" / "localize.yaml")) == set(DECLARED)


@pytest.mark.parametrize("node", DECLARED)
def test_what_the_parameter_file_gives_are_parameters_at_their_defaults(node: str) -> None:
    given = given_to(node)
    for settings, _ in DECLARED[node]:
        own = {leaf.name: given.pop(leaf.name) for leaf in leaves(settings) if leaf.name in given}
        assert override(settings, nested(own), node) == settings
    assert not given, "these are no parameters"
