"""Valid recordings, tiny, and damages of their fields: bags of each kind, image folders."""

import dataclasses
import sqlite3
import struct
import tempfile
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import cv2
import numpy as np
from rosbags.rosbag1 import Writer as Writer1
from rosbags.serde import SerdeError
from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from sensor_messages import fix, imu

from fgsn_ros.geometry import poses
from fgsn_ros.geometry.cameras import T_BASE_OPTICAL, Camera, CameraMount
from fgsn_ros.messages.images import make_camera_info, make_image, make_jpeg
from fgsn_ros.messages.poses import make_odometry, make_transform, make_transforms
from fgsn_ros.messages.types import BAG_TYPES, TYPESTORE, make_header
from fgsn_ros.recordings.recording import Frame
from fgsn_ros.recordings.rosbag_writer import RecordingWriter
from fuzzing.formats import Record, chunk, mcap, mutated_definition, text
from fuzzing.mutators import mutated_bytes, mutated_message, mutated_text, mutated_yaml
from fuzzing.oracle import Files, files_of

HEIGHT, WIDTH, FRAMES = 12, 16, 3
START = 1_700_000_000.25
Timed = tuple[str, float, Any]
"""Topic, stamp [s] and message."""


def image(number: int) -> np.ndarray:
    """RGB (H, W, 3)."""
    v, u = np.mgrid[:HEIGHT, :WIDTH]
    return np.stack([10 * u + number, 15 * v, 8 * (u + v)], axis=-1).astype(np.uint8)


def mount() -> CameraMount:
    """A camera of these images on a robot."""
    camera = Camera(WIDTH, HEIGHT, 15.0, 15.5, 7.4, 5.6, "plumb_bob", (-0.1, 0.01, 1e-4, 2e-4))
    T_base_camera = poses.from_xyz_rpy([1.0, 0.1, 1.5], [0.0, 0.0, 0.1]) @ T_BASE_OPTICAL
    return CameraMount(camera, T_base_camera, "camera_optical")


def pose_at(number: int) -> np.ndarray:
    """T_map_base (4, 4)."""
    return poses.from_planar(0.5 * number, 0.1 * number, 0.05 * number)


# ---- bags


@cache
def messages() -> list[Timed]:
    """What a bag holds: a raw and a compressed camera, odometry, truth, transforms, GPS, an IMU."""
    where, timed = mount(), []
    static = make_transform(BAG_TYPES, START, "base_link", where.frame_id, where.T_base_camera)
    timed.append(("/tf_static", START, make_transforms(BAG_TYPES, [static])))
    for number in range(FRAMES):
        stamp = START + 0.1 * number
        header = make_header(BAG_TYPES, stamp, where.frame_id)
        info = make_camera_info(BAG_TYPES, header, where.camera)
        moving = make_transform(BAG_TYPES, stamp, "odom", "base_link", pose_at(number))
        raw = make_image(BAG_TYPES, header, "rgb8", image(number))
        for topic, message in (
            ("/odom", make_odometry(BAG_TYPES, stamp, "odom", "base_link", pose_at(number))),
            ("/truth", make_odometry(BAG_TYPES, stamp, "map", "base_link", pose_at(number))),
            ("/tf", make_transforms(BAG_TYPES, [moving])),
            ("/fix", fix(stamp, "base_link")),
            ("/imu", imu(stamp, "base_link")),
            ("/a/camera_info", info),
            ("/a/image", raw),
            ("/b/camera_info", info),
            ("/b/image/compressed", make_jpeg(BAG_TYPES, header, image(number), 90)),
        ):
            timed.append((topic, stamp, message))
    return timed


@cache
def _definition(msgtype: str) -> str:
    return TYPESTORE.generate_msgdef(msgtype, ros_version=2)[0]


def cdr(message: Any) -> bytes:
    """A message's bytes."""
    return bytes(TYPESTORE.serialize_cdr(message, message.__msgtype__))


def bag_records(
    timed: list[tuple[str, float, str, bytes]], definitions: dict[str, str]
) -> list[Record]:
    """Records of an MCAP file of payloads (topic, stamp, type, bytes)."""
    records: list[Record] = []
    types: dict[str, int] = {}
    channels: dict[str, int] = {}
    for topic, stamp, msgtype, payload in timed:
        if msgtype not in types:
            types[msgtype] = len(types) + 1
            definition = definitions.get(msgtype, _definition(msgtype))
            schema = struct.pack("<H", types[msgtype]) + text(msgtype) + text("ros2msg")
            records.append((3, schema + text(definition)))
        if topic not in channels:
            channels[topic] = len(channels)
            head = struct.pack("<HH", channels[topic], types[msgtype])
            records.append((4, head + text(topic) + text("cdr") + text("")))
        nanoseconds = int(stamp * 1e9)
        head = struct.pack("<HIQQ", channels[topic], 0, nanoseconds, nanoseconds)
        records.append((5, head + payload))
    return records


def _payloads() -> list[tuple[str, float, str, bytes]]:
    return [(topic, stamp, m.__msgtype__, cdr(m)) for topic, stamp, m in messages()]


@cache
def mcap_files() -> list[Files]:
    """Bags as files of bare records, of packed chunks with a summary, and as a folder."""
    records = bag_records(_payloads(), {})
    seeds = [{"two.mcap": mcap(records)}, {"two.mcap": mcap([chunk(records, "zstd")])}]
    return [*seeds, *written_bags("mcap")]


@cache
def written_bags(storage: str) -> list[Files]:
    """A bag's folder, and its storage file alone, by the package's writer."""
    with tempfile.TemporaryDirectory() as scratch:
        with RecordingWriter(Path(scratch, "bag"), storage) as writer:
            writer.add_camera("a", mount())
            for number in range(FRAMES):
                stamp = START + 0.1 * number
                writer.write_image(
                    Frame(stamp, "a", image(number)), None if storage == "mcap" else 90
                )
                writer.write_odometry(stamp, pose_at(number))
                writer.write_ground_truth(stamp, pose_at(number))
        folder = files_of(Path(scratch))
    alone = {f"bag{Path(n).suffix}": content for n, content in folder.items() if "yaml" not in n}
    return [folder, alone]


def mutated_fields(rng: Random, _: Files, __: list[Files]) -> Files:
    """A bag, some of whose messages have other values, or payloads that are damaged."""
    timed = list(messages())
    changed = []
    victims = {rng.randrange(len(timed)) for _ in range(rng.choice((1, 1, 2, 8)))}
    if rng.random() < 0.2:  # all of a topic
        topic = timed[rng.randrange(len(timed))][0]
        victims |= {i for i, item in enumerate(timed) if item[0] == topic}
    for number, (topic, stamp, message) in enumerate(timed):
        payload = cdr(message)
        if number in victims:
            payload = damaged_payload(rng, message, payload)
        changed.append((topic, stamp, message.__msgtype__, payload))
    return {"two.mcap": mcap(bag_records(changed, {}))}


def damaged_payload(rng: Random, message: Any, payload: bytes) -> bytes:
    """The message with other values, or its bytes damaged."""
    if rng.random() < 0.25:
        return mutated_bytes(rng, payload)
    for _ in range(5):
        try:
            return cdr(mutated_message(rng, message))
        except (SerdeError, struct.error, ValueError, TypeError, OverflowError):
            continue  # a value that its type does not hold
    return payload[:-1]


def mutated_definitions(rng: Random, _: Files, __: list[Files]) -> Files:
    """A bag whose definitions are others."""
    timed = _payloads()
    types = sorted({item[2] for item in timed})
    chosen = rng.sample(types, rng.choice((1, 1, 2)))
    changed = {name: mutated_definition(rng, _definition(name)) for name in chosen}
    return {"two.mcap": mcap(bag_records(timed, changed))}


def mutated_database(rng: Random, files: Files, _: list[Files]) -> Files:
    """A rosbag2 folder of sqlite3 with other rows, columns and metadata, or damaged bytes."""
    name = next(name for name in files if name.endswith(".db3"))
    metadata = next((n for n in files if n.endswith(".yaml")), None)
    kind = rng.random()
    if kind < 0.3 and metadata is not None:
        return files | {metadata: mutated_yaml(rng, files[metadata])}
    if kind < 0.6:
        return files | {name: mutated_bytes(rng, files[name])}
    database = sqlite3.connect(":memory:")
    database.deserialize(files[name])
    for _ in range(rng.choice((1, 1, 2))):
        _change_row(rng, database)
    changed = database.serialize()
    database.close()
    return files | {name: bytes(changed)}


def _change_row(rng: Random, database: sqlite3.Connection) -> None:
    values = ("''", "NULL", "-1", "9223372036854775807", "1e308", "zeroblob(3000000)", "'x'")
    values += ("x'00010000ffffffff'", "char(27) || '[2J'", "'A' || hex(zeroblob(50000))")
    tables = {
        "topics": ("id", "name", "type", "serialization_format", "offered_qos_profiles"),
        "messages": ("id", "topic_id", "timestamp", "data"),
        "schema": ("schema_version",),
    }
    table = rng.choice(list(tables))
    column, every = rng.choice(tables[table]), rng.choice((1, 3))
    commands = (
        f"update {table} set {column} = {rng.choice(values)} where rowid % {every} = 0",
        f"alter table {table} rename column {column} to other",
        f"delete from {table} where rowid % 2 = 0",
        f"drop table {table}",
        "update messages set data = zeroblob(50000000) where rowid = 1",
        f"create view other as select * from {table}",
        f"update messages set data = substr(data, 1, {rng.randrange(60)})",
    )
    try:
        database.execute(rng.choice((*commands[:1] * 5, *commands)))
        database.commit()
    except sqlite3.Error:
        database.rollback()


# ---- ROS 1

ROS1 = get_typestore(Stores.ROS1_NOETIC)
ROS1.register(
    get_types_from_msg("geometry_msgs/TransformStamped[] transforms", "tf2_msgs/msg/TFMessage")
)


@cache
def ros1_files() -> list[Files]:
    """ROS 1 bags, bare and packed."""
    return [{"bag.bag": _ros1_bag(None, packed)} for packed in (None, "BZ2", "LZ4")]


def _ros1_bag(rng: Random | None, packed: str | None) -> bytes:
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch, "bag.bag")
        writer = Writer1(path)
        if packed:
            writer.set_compression(Writer1.CompressionFormat[packed])
        with writer:
            connections: dict[str, Any] = {}
            timed = [item for item in messages() if not item[0].startswith("/b")]
            victim = rng.randrange(len(timed)) if rng else -1
            for number, (topic, stamp, message) in enumerate(timed):
                msgtype = message.__msgtype__
                if topic not in connections:
                    connections[topic] = writer.add_connection(topic, msgtype, typestore=ROS1)
                payload = _ros1_payload(message)
                if rng and number == victim:
                    payload = mutated_bytes(rng, payload)
                writer.write(connections[topic], int(stamp * 1e9), payload)
        return path.read_bytes()


def _ros1_payload(message: Any) -> bytes:
    return bytes(ROS1.serialize_ros1(_as_ros1(message), message.__msgtype__))


def _as_ros1(message: Any) -> Any:
    """The message of ROS 1: headers are counted there, and calibrations in capitals."""
    if isinstance(message, list):
        return [_as_ros1(item) for item in message]
    if not dataclasses.is_dataclass(message):
        return message
    kind = ROS1.types[message.__msgtype__]
    names = [field.name for field in dataclasses.fields(kind) if field.name != "__msgtype__"]
    values = {n: getattr(message, n, getattr(message, n.lower(), 0)) for n in names}
    return kind(**{name: _as_ros1(value) for name, value in values.items()})


def mutated_ros1(rng: Random, files: Files, seeds: list[Files]) -> Files:
    """A ROS 1 bag with damaged bytes, or with a damaged message in a bag that is whole."""
    if rng.random() < 0.7:
        return {"bag.bag": mutated_bytes(rng, files["bag.bag"], rng.choice(seeds)["bag.bag"])}
    return {"bag.bag": _ros1_bag(rng, rng.choice((None, "BZ2", "LZ4")))}


# ---- folders


def png(pixels: np.ndarray) -> bytes:
    """A PNG."""
    return cv2.imencode(".png", pixels)[1].tobytes()


def tum_text(count: int = FRAMES) -> bytes:
    """TUM text of poses at the frames' stamps."""
    lines = ["# timestamp tx ty tz qx qy qz qw"]
    for number in range(count):
        translation, q_xyzw = poses.to_quaternion(pose_at(number))
        row = [START + 0.1 * number, *translation, *q_xyzw]
        lines.append(" ".join(f"{value:.9f}" for value in row))
    return ("\n".join(lines) + "\n").encode()


CAMERA_YAML = f"""image_width: {WIDTH}
image_height: {HEIGHT}
camera_name: camera
camera_matrix: {{rows: 3, cols: 3, data: [15.0, 0.0, 7.4, 0.0, 15.5, 5.6, 0.0, 0.0, 1.0]}}
distortion_model: plumb_bob
distortion_coefficients: {{rows: 1, cols: 5, data: [-0.1, 0.01, 0.0001, 0.0002, 0.0]}}
rectification_matrix: {{rows: 3, cols: 3, data: [1, 0, 0, 0, 1, 0, 0, 0, 1]}}
projection_matrix: {{rows: 3, cols: 4, data: [15, 0, 7.4, 0, 0, 15.5, 5.6, 0, 0, 0, 1, 0]}}
T_base_camera: {{translation: [1.0, 0.1, 1.5], q_xyzw: [-0.5, 0.5, -0.5, 0.5]}}
""".encode()


OTHER_CAMERAS = (
    f"""cam0:
  camera_model: pinhole
  intrinsics: [15.0, 15.5, 7.4, 5.6]
  distortion_model: equidistant
  distortion_coeffs: [0.01, 0.0, 0.0, 0.0]
  resolution: [{WIDTH}, {HEIGHT}]
  rostopic: /cam0/image_raw
""",
    f"""Camera.type: PinHole
Camera.fx: 15.0
Camera.fy: 15.5
Camera.cx: 7.4
Camera.cy: 5.6
Camera.k1: -0.1
Camera.p1: 0.0001
Camera.width: {WIDTH}
Camera.height: {HEIGHT}
""",
)
"""As Kalibr and ORB-SLAM write them."""


@cache
def image_folders() -> list[Files]:
    """Folders of images, with times in a file or in the names."""
    named = {f"{START + 0.1 * n:.6f}.png": png(image(n)) for n in range(FRAMES)}
    timed = {f"images/{n:06d}.png": png(image(n)) for n in range(FRAMES)}
    times = "".join(f"{START + 0.1 * n:.6f}\n" for n in range(FRAMES)).encode()
    common = {"camera.yaml": CAMERA_YAML, "poses.txt": tum_text()}
    others = [common | named | {"camera.yaml": text.encode()} for text in OTHER_CAMERAS]
    return [common | named, common | timed | {"times.txt": times}, *others]


def mutated_folder(rng: Random, files: Files, seeds: list[Files]) -> Files:
    """A folder with one file damaged as its kind allows, or another name."""
    name = rng.choice(list(files))
    if rng.random() < 0.1:
        new = rng.choice(
            (
                "99999999999999999999.png",
                "-1.png",
                "nan.png",
                "1e400.png",
                "٣.png",
                "inf.jpg",
                "²." + "png",
                "\x1b[2J.png",
                "a" * 250 + ".png",
            )
        )
        parent = name.rpartition("/")[0]
        return files | {f"{parent}/{new}".lstrip("/"): files[name]}
    if rng.random() < 0.05:
        return {other: content for other, content in files.items() if other != name}
    return files | {name: mutated_by_name(rng, name, files[name], seeds)}


def mutated_by_name(rng: Random, name: str, content: bytes, seeds: list[Files]) -> bytes:
    """A file damaged as its suffix says."""
    from fuzzing.formats import mutated_image

    other = rng.choice(list(rng.choice(seeds).values()))
    if name.endswith(".yaml"):
        return mutated_yaml(rng, content, other)
    if name.endswith(".txt"):
        return mutated_text(rng, content, other)
    return mutated_image(rng, content, other)


@cache
def kitti_folders() -> list[Files]:
    """KITTI sequences, with poses of 12 columns and as TUM text."""
    P = "P0: " + " ".join(str(x) for x in (15.0, 0, 7.4, 0, 0, 15.5, 5.6, 0, 0, 0, 1, 0)) + "\n"
    times = "".join(f"{0.1 * n:e}\n" for n in range(FRAMES)).encode()
    frames = {f"image_0/{n:06d}.png": png(image(n)[..., 0]) for n in range(FRAMES)}
    rows = "".join(f"1 0 0 {n} 0 1 0 0 0 0 1 {n / 2}\n" for n in range(FRAMES)).encode()
    common = {"calib.txt": P.encode(), "times.txt": times, **frames}
    return [common | {"poses.txt": rows}, common]
