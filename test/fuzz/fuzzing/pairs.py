"""Valid correspondences, their sets and lists; damages; what reads them."""

import io
from functools import cache
from pathlib import Path
from random import Random

import h5py
import numpy as np
import yaml

from fgsn_ros.correspondences.files import (
    Correspondence,
    CorrespondenceFolder,
    read_correspondence,
    read_correspondence_header,
    write_correspondence,
)
from fgsn_ros.correspondences.sets import read_correspondence_sets, training_pairs
from fuzzing import formats, mutators
from fuzzing.oracle import Files, made


@cache
def correspondence_files() -> list[Files]:
    """A correspondence."""
    points = np.random.default_rng(0).uniform(0, 10, (6, 2))
    content = Correspondence("run1/a.png", "run2/b.png", points, points + 1.0, np.zeros(6))
    return [made(lambda folder: write_correspondence(folder / "c.mat", content))]


def mutated_correspondence(rng: Random, files: Files, seeds: list[Files]) -> Files:
    """A correspondence file of other content, or damaged."""
    if rng.random() < 0.5:
        return {"c.mat": mutators.mutated_bytes(rng, files["c.mat"], files["c.mat"])}
    return {"c.mat": odd_hdf5(rng, files["c.mat"])}


def odd_hdf5(rng: Random, content: bytes) -> bytes:
    """The file with a field that is of another type, size, storage, or elsewhere."""

    stored = io.BytesIO(content)
    with h5py.File(stored, "r+") as file:
        name = rng.choice(list(file))
        values = file[name][()]
        del file[name]
        kind = rng.randrange(16)
        if kind == 0:
            file[name] = rng.choice(
                ("a.png", b"a.png", 1.5, np.bytes_(b"x" * 300), np.void(b"xyz"))
            )
        elif kind < 5:
            file[name] = formats.array_of(rng, values)
        elif kind == 5:
            shape = rng.choice(
                ((2**33, 1), (2**31, 2), (1, 2**33), (2**20, 2**20), (50_000_000, 2))
            )
            options = rng.choice(
                ({}, {"chunks": (1, 1)}, {"chunks": (1000, 2), "compression": "gzip"})
            )
            options = {} if options and min(shape) < 2 and options["chunks"][1] == 2 else options
            file.create_dataset(name, shape, values.dtype, **options, fillvalue=97)
        elif kind == 6:
            large = np.full((rng.choice((2_000_000, 300_000)), 1), 97, values.dtype)
            file.create_dataset(name, data=large, compression="gzip", chunks=large.shape)
        elif kind == 7:
            file.create_dataset(name, (8,), "f8", external=[("/etc/passwd", 0, 64)])
        elif kind == 8:
            layout = h5py.VirtualLayout((4, 2), "f8")
            layout[:] = h5py.VirtualSource("/etc/passwd", "x", (4, 2))
            file.create_virtual_dataset(name, layout)
        elif kind == 9:
            links = (h5py.ExternalLink("/etc/passwd", "/x"), h5py.SoftLink(f"/{name}"))
            file[name] = rng.choice((*links, h5py.SoftLink("/nowhere"), h5py.SoftLink("/pt_i")))
        elif kind == 10:
            file.create_group(name)
        elif kind == 11:
            strings = h5py.string_dtype()
            file.create_dataset(name, data=["a" * rng.choice((1, 10_000))] * 3, dtype=strings)
        elif kind == 12:
            file.create_dataset(name, (4, 2), np.dtype((np.float64, (rng.choice((2, 1000)),))))
        elif kind == 13:
            file[name] = np.zeros(4, np.dtype([("a", "f8"), ("b", "i4")]))
        elif kind == 14:
            file[name] = h5py.Empty("f8")
        else:
            packed = {"compression": rng.choice(("gzip", "lzf"))}
            kinds = (packed, {"fletcher32": True}, packed | {"shuffle": True, "fletcher32": True})
            file.create_dataset(name, data=values, chunks=values.shape, **rng.choice(kinds))
    return stored.getvalue()


def read_pair(folder: Path) -> None:
    """Read a correspondence file, whole and its header."""
    read_correspondence_header(folder / "c.mat")
    read_correspondence(folder / "c.mat")


@cache
def set_files() -> list[Files]:
    """A file that describes correspondence sets, and the folders and lists that it names."""
    described = {
        "correspondences": "data",
        "images": "images",
        "train_list": "train.txt",
        "validation_list": "train.txt",
    }
    others = {"data/c.mat": correspondence_files()[0]["c.mat"], "train.txt": b"c\nc.mat\n"}
    others["images/run1/a.png"] = others["images/run2/b.png"] = b"-"
    contents = (described, [described], [described, described])
    return [{"sets.yaml": yaml.safe_dump(c).encode(), **others} for c in contents]


def mutated_sets(rng: Random, files: Files, seeds: list[Files]) -> Files:
    """Sets with another description or list."""
    if rng.random() < 0.8:
        other = rng.choice(seeds)["sets.yaml"]
        return files | {"sets.yaml": mutators.mutated_yaml(rng, files["sets.yaml"], other)}
    return files | {"train.txt": mutators.mutated_text(rng, files["train.txt"])}


def read_sets(folder: Path) -> None:
    """Read sets and index their pairs."""

    for pair in training_pairs(read_correspondence_sets(folder / "sets.yaml")):
        assert len(pair.weights) == len(pair.reference_points)


def read_lists(folder: Path) -> None:
    """Read class names and lists of files."""
    listed = CorrespondenceFolder(folder)
    listed.class_names()
    listed.train_files()
