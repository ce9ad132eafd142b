import json

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from fgsn_ros.config import load_yaml
from fgsn_ros.documents import parse_json, parse_yaml
from fgsn_ros.errors import SettingsError

scalars = st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.text(max_size=8)
scalars |= st.floats(allow_nan=False, allow_infinity=False)
trees = st.recursive(
    scalars, lambda t: st.lists(t, max_size=4) | st.dictionaries(st.text(max_size=5), t, max_size=4)
)
LAUGHS = "x0: &x0 [lol]\n" + "".join(
    f"x{i}: &x{i} [{', '.join([f'*x{i - 1}'] * 9)}]\n" for i in range(1, 10)
)


@given(tree=trees)
def test_what_json_holds_comes_back(tree):
    assert parse_json(json.dumps(tree)) == tree
    assert parse_json(json.dumps(tree).encode()) == tree


@given(tree=trees)
def test_what_yaml_holds_comes_back(tree):
    assert parse_yaml(yaml.safe_dump(tree)) == tree


def test_an_alias_repeats_what_it_names_and_a_merge_can_be_overridden():
    text = "a: &a {x: 1, y: 2}\nb: {<<: *a, y: 3}\nc: *a\n"
    assert parse_yaml(text) == {"a": {"x": 1, "y": 2}, "b": {"x": 1, "y": 3}, "c": {"x": 1, "y": 2}}


def test_what_looks_like_a_date_is_text():
    assert parse_yaml("[2026-13-45, 2026-11-30]") == ["2026-13-45", "2026-11-30"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (LAUGHS, "more than 100000 values"),
        ("a: &a [*a]", "alias of what it is part of"),
        ("[" * 20_000, "nested deeper than 50"),
        ("- " * 20_000 + "a", "nested deeper than 50"),
        ("a: 1\nb: 2\na: 3", "'a' twice"),
        ("a: .inf", ".inf is no finite number"),
        ("a: .nan", ".nan is no finite number"),
        ("a: " + "9" * 400, "exceeds 64 bits"),
        ("a: 18446744073709551616", "exceeds 64 bits"),
        ("a: " + "9" * 5000, "5000 characters"),
        ("a: 1" + ":1" * 5000, "10001 characters"),
        ("a: !!int ''", ""),
        ("a: !!float x", ""),
        ("a: !!timestamp 2026-13-45", "month"),
        ("a: !!python/object/apply:os.system [exit]", "python/object"),
        ("a: '", "quoted scalar"),
        ("# " + "x" * (1 << 20), "larger than"),
    ],
)
def test_hostile_yaml_is_refused_in_one_line(text, reason, tmp_path):
    with pytest.raises(ValueError) as error:  # noqa: PT011
        parse_yaml(text)
    assert reason in str(error.value)
    assert "\n" not in str(error.value)
    (tmp_path / "settings.yaml").write_text(text)
    with pytest.raises(
        SettingsError, match=r"cannot read settings from .*settings\.yaml"
    ) as refused:
        load_yaml(tmp_path / "settings.yaml")
    assert len(str(refused.value)) < 1300
    assert str(refused.value).isprintable()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[" * 100_000, "nested too deep"),
        ('{"a": 1, "b": 2, "a": 3}', "'a' twice"),
        ("[NaN]", "NaN is no finite number"),
        ("[-Infinity]", "-Infinity is no finite number"),
        ("[1e999]", "1e999 is no finite number"),
        ("[" + "9" * 400 + "]", "exceeds 64 bits"),
        ("[" + "9" * 5000 + "]", "5000 characters"),
        ("[1] 2", "Extra data"),
    ],
)
def test_hostile_json_is_refused_in_one_line(text, reason):
    with pytest.raises(ValueError) as error:  # noqa: PT011
        parse_json(text)
    assert reason in str(error.value)
    assert "\n" not in str(error.value)


def test_settings_of_a_training_may_hold_what_is_no_number():
    assert parse_json('{"score": Infinity}', only_finite=False) == {"score": float("inf")}
    with pytest.raises(ValueError, match="exceeds 64 bits"):
        parse_json("9" * 400, only_finite=False)
