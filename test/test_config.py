import dataclasses
from enum import Enum
from pathlib import Path
from typing import Literal

import pytest

from fgsn_ros.config import (
    Setting,
    leaves,
    load_yaml,
    missing_module,
    nested,
    override,
    require,
    require_extra,
)
from fgsn_ros.errors import SettingsError


class Weather(Enum):
    SUN = "sun"
    RAIN = "rain"


@dataclasses.dataclass(frozen=True)
class Noise:
    scale: float = 0.5
    """Share of the signal,
    at least 0."""

    def __post_init__(self) -> None:
        require(self.scale >= 0, "scale must not be negative")


@dataclasses.dataclass(frozen=True)
class Filter:
    particles: int = 10
    noise: Noise = dataclasses.field(default_factory=Noise)
    output: Path | None = None
    start: tuple[float, float] = (0.0, 0.0)
    names: tuple[str, ...] = ()
    weather: Weather = Weather.SUN
    device: Literal["cpu", "cuda"] = "cpu"
    resample: bool = True


def test_values_take_the_type_of_their_field() -> None:
    values = {
        "particles": 20,
        "noise": {"scale": 2},
        "output": "there",
        "start": [1, 2.5],
        "names": ["a", "b"],
        "weather": "rain",
        "device": "cuda",
        "resample": False,
    }

    changed = override(Filter(), values, "test")

    assert changed == Filter(
        20, Noise(2.0), Path("there"), (1.0, 2.5), ("a", "b"), Weather.RAIN, "cuda", False
    )
    assert isinstance(changed.noise.scale, float)


def test_null_empties_an_optional_field() -> None:
    assert override(Filter(output=Path("there")), {"output": None}, "test").output is None


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"particels": 1}, "unknown setting 'particels'"),
        ({"particles": "many"}, "particles: 'many' is not int"),
        ({"particles": 1.5}, "particles: 1.5 is not int"),
        ({"particles": True}, "particles: True is not int"),
        ({"resample": 1}, "resample: 1 is not bool"),
        ({"noise": 3}, "noise takes a mapping"),
        ({"noise": {"scale": -1}}, "scale must not be negative"),
        ({"noise": {"sale": 1}}, "noise: unknown setting 'sale'"),
        ({"start": [1]}, "start takes 2 values"),
        ({"weather": "snow"}, "'snow' is none of"),
        ({"device": "tpu"}, "device: 'tpu' is not"),
        ({"output": 3}, "output: 3 is not Path or null"),
    ],
)
def test_a_wrong_value_is_named_in_one_line(values: dict[str, object], message: str) -> None:
    with pytest.raises(SettingsError, match=message) as caught:
        override(Filter(), values, "file.yaml")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "content", [b"- a\n- b\n", b"a: [1\n", b"\xff\xfe\x00", b"!!python/none x"]
)
def test_a_file_that_is_no_mapping_is_refused_in_one_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "settings.yaml"
    path.write_bytes(content)
    with pytest.raises(SettingsError) as caught:
        load_yaml(path)
    assert "\n" not in str(caught.value)


def test_an_empty_file_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "settings.yaml"
    path.write_text("# nothing\n")
    assert load_yaml(path) == {}


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="absent.yaml"):
        load_yaml(tmp_path / "absent.yaml")


def test_leaves_are_named_through_nested_dataclasses_and_described() -> None:
    settings = Filter(particles=20, noise=Noise(2.0))

    listed = list(leaves(settings))

    assert [leaf.name for leaf in listed] == [
        "particles",
        "noise.scale",
        "output",
        "start",
        "names",
        "weather",
        "device",
        "resample",
    ]
    assert listed[0] == Setting("particles", int, 20, "")
    assert listed[1] == Setting("noise.scale", float, 2.0, "Share of the signal, at least 0.")
    assert listed[3].annotation == tuple[float, float]


def test_leaves_fill_the_dataclass_again() -> None:
    settings = Filter(particles=20, noise=Noise(2.0), weather=Weather.RAIN, names=("a",))
    values = {leaf.name: leaf.default for leaf in leaves(settings)}
    values["weather"] = "rain"
    values["output"] = None
    assert override(Filter(), nested(values), "test") == settings


@dataclasses.dataclass(frozen=True)
class FilterOfNoise(Noise):
    """A dataclass with fields of its own and of the one that it extends."""

    order: int = 2
    """Of the filter."""


def test_inherited_fields_are_described_too() -> None:
    described = {leaf.name: leaf.description for leaf in leaves(FilterOfNoise())}
    assert described == {"scale": "Share of the signal, at least 0.", "order": "Of the filter."}


def test_a_missing_module_is_named_with_the_extra_that_brings_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "h5py" else name)
    require_extra("train", "faiss")
    with pytest.raises(SettingsError, match=r"h5py.*: pip install 'fgsn_ros\[train\]'"):
        require_extra("train", "faiss", "h5py")


def test_a_module_that_no_extra_brings_is_named_alone() -> None:
    assert missing_module("torch.nn").endswith("pip install 'fgsn_ros[torch]'")
    assert missing_module("tyro") == "tyro is not installed: pip install tyro"
