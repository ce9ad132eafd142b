"""Files of bags in all forms that recorders and converters give them, whole, cut or hostile."""

import logging
import shutil
import sqlite3
import struct
from pathlib import Path

import lz4.frame
import numpy as np
import pytest
import world_drive
from backports import zstd
from mcap.writer import CompressionType, IndexType
from mcap.writer import Writer as McapWriter
from rosbags.rosbag1 import Writer as Ros1Writer
from rosbags.rosbag2 import CompressionMode, StoragePlugin
from world_drive import START, Item, drive, fill_ros1, of_type, write_bag, write_mcap

from fgsn_ros.messages.types import BAG_TYPES, TYPESTORE, ros1_typestore
from fgsn_ros.recordings.bag_files import read_topics
from fgsn_ros.recordings.bag_paths import open_storage
from fgsn_ros.recordings.open import open_images, open_recording
from fgsn_ros.recordings.recording import RecordingSettings

MAGIC = b"\x89MCAP0\r\n"
ALL = [f"{START + 0.1 * i:.1f}" for i in range(8)]


def stamps(path: Path) -> list[str]:
    """Stamps of a drive's images; its odometry is there as well."""
    recording = open_recording(path)
    assert recording.odometry is not None
    return [f"{frame.stamp:.1f}" for frame in recording.frames()]


def mcap_of(path: Path, items: list[Item], profile: str = "ros2", **options) -> Path:
    with path.open("wb") as file:
        writer = McapWriter(file, **options)
        writer.start(profile=profile)
        types: dict[str, int] = {}
        channels: dict[str, int] = {}
        for topic, msgtype, t, message in items:
            text = TYPESTORE.generate_msgdef(msgtype, ros_version=2)[0].encode()
            if msgtype not in types:
                types[msgtype] = writer.register_schema(msgtype, "ros2msg", text)
            if topic not in channels:
                channels[topic] = writer.register_channel(topic, "cdr", types[msgtype])
            data = bytes(TYPESTORE.serialize_cdr(message, msgtype))
            writer.add_message(channels[topic], round(t * 1e9), data, round(t * 1e9))
        writer.finish()
    return path


def ros1_of(path: Path, items, compression=None) -> Path:
    writer = Ros1Writer(path)
    if compression is not None:
        writer.set_compression(compression)
    with writer:
        fill_ros1(writer, items)
    return path


@pytest.mark.parametrize("compression", CompressionType)
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"use_chunking": False},
        {"use_statistics": False},
        {"index_types": IndexType.NONE},
        {"repeat_channels": False},
        {"repeat_schemas": False},
        {"profile": "", "enable_crcs": False},
    ],
)
def test_an_mcap_file_is_read_whatever_its_writer_left_out(
    tmp_path: Path, compression: CompressionType, options
) -> None:
    path = tmp_path / "a.mcap"
    mcap_of(path, list(drive(8)), compression=compression, chunk_size=4000, **options)
    assert stamps(path) == ALL
    assert read_topics(path)["/camera/image/compressed"].count == 8


def test_messages_come_in_the_order_of_recording_where_chunks_overlap(tmp_path: Path) -> None:
    """As converters write them: one topic after the other, and chunks that go back in time."""
    items = sorted(drive(8), key=lambda item: (item.topic, round(20 * item.stamp) % 3))
    path = mcap_of(tmp_path / "a.mcap", items, chunk_size=3000)
    assert stamps(path) == ALL


def test_an_mcap_file_without_an_end_is_read_as_far_as_its_chunks_are_whole(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = mcap_of(tmp_path / "a.mcap", list(drive(8)), chunk_size=4000)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    read = stamps(path)
    assert 2 <= len(read) < 8
    assert read == ALL[: len(read)]
    (record,) = caplog.records
    assert "it has no end, as its recorder was killed" in record.getMessage()


def test_a_bag_of_which_more_than_a_tenth_is_gone_is_refused(tmp_path: Path, refused) -> None:
    bag = write_bag(tmp_path / "bag", drive(8))
    (file,) = bag.glob("*.mcap")
    mcap_of(file, list(drive(8)), chunk_size=4000)
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    assert "mcap recover" in refused(bag)


@pytest.mark.parametrize("compression", [None, *Ros1Writer.CompressionFormat])
def test_a_ros1_bag_is_read_with_its_index_and_without(
    tmp_path: Path, compression, caplog: pytest.LogCaptureFixture
) -> None:
    path = ros1_of(tmp_path / "a.bag", drive(8), compression)
    assert stamps(path) == ALL
    assert not caplog.records
    data = bytearray(path.read_bytes())
    at = data.index(b"index_pos=") + len(b"index_pos=")
    (index,) = struct.unpack_from("<Q", data, at)
    data[at : at + 8] = bytes(8)
    active = tmp_path / "b.bag.active"
    active.write_bytes(data[:index])
    assert stamps(active) == ALL
    assert "it has no index, as its recorder was killed" in caplog.text


def test_a_ros1_bag_without_its_end_says_how_to_index_it(tmp_path: Path, refused) -> None:
    path = ros1_of(tmp_path / "a.bag", drive(8))
    path.write_bytes(path.read_bytes()[:-1000])
    assert "rosbag reindex a.bag" in refused(path)


@pytest.mark.parametrize("plugin", StoragePlugin)
@pytest.mark.parametrize("mode", [CompressionMode.FILE, CompressionMode.MESSAGE])
def test_bags_that_rosbag2_compressed_are_read_as_folder_and_as_file(
    tmp_path: Path, plugin, mode
) -> None:
    if plugin == StoragePlugin.MCAP and mode == CompressionMode.MESSAGE:
        pytest.skip("rosbags does not write it")
    bag = write_bag(tmp_path / "bag", drive(8), plugin, mode)
    (file,) = (file for file in bag.iterdir() if file.suffix != ".yaml")
    for path in (bag, file, bag / "metadata.yaml"):
        assert stamps(path) == ALL
        assert open_recording(path).name in ("bag", file.stem)


def test_a_sqlite_journal_of_a_killed_recorder_is_read(tmp_path: Path) -> None:
    bag = write_bag(tmp_path / "bag", drive(8), StoragePlugin.SQLITE3)
    (file,) = bag.glob("*.db3")
    database = sqlite3.connect(file)
    database.execute("PRAGMA journal_mode=WAL")
    database.execute("PRAGMA wal_autocheckpoint=0")
    database.execute("DELETE FROM messages WHERE id > 30")
    database.commit()
    killed = tmp_path / "killed #1? 100%"
    killed.mkdir()
    for part in bag.glob("*.db3*"):
        shutil.copy(part, killed / part.name)
    database.close()
    assert len(list(killed.glob("*-wal"))) == 1
    assert sum(topic.count for topic in read_topics(killed).values()) == 30


def test_parts_of_a_bag_are_read_in_their_order_and_several_bags_are_told_apart(
    tmp_path: Path, refused
) -> None:
    items = list(drive(12))
    folder = tmp_path / "bags"
    folder.mkdir()
    for part in range(12):
        mcap_of(folder / f"drive_{part}.mcap", items[part * 5 : part * 5 + 5])
    rest = mcap_of(folder / "drive_12.mcap", items[60:])
    assert len(stamps(folder)) == 12
    rest.rename(folder / "other.mcap")
    assert "holds several bags and no metadata.yaml; name one: drive_0.mcap" in refused(folder)
    assert "name one of the bags in it: bags" in refused(tmp_path)


def test_a_bag_is_known_by_its_content_whatever_its_suffix(tmp_path: Path) -> None:
    path = mcap_of(tmp_path / "a.mcap", list(drive(8)))
    for name in ("a.bag", "a.db3", "recording"):
        shutil.copy(path, tmp_path / name)
        assert stamps(tmp_path / name) == ALL


def test_a_type_that_is_defined_otherwise_than_by_ros_is_refused(tmp_path: Path, refused) -> None:
    text = TYPESTORE.generate_msgdef("nav_msgs/msg/Odometry", ros_version=2)[0]
    schemas = {"nav_msgs/msg/Odometry": ("ros2msg", text.replace("float64 x", "float32 x"))}
    said = refused(write_mcap(tmp_path / "a.mcap", drive(), schemas))
    assert "defines nav_msgs/msg/Odometry of /odom otherwise than ROS does" in said
    commented = "# as it is\n" + text.replace("string child_frame_id", "string  child_frame_id#")
    schemas = {"nav_msgs/msg/Odometry": ("ros2msg", commented)}
    assert len(stamps(write_mcap(tmp_path / "b.mcap", drive(8), schemas))) == 8


def test_packets_of_video_name_the_way_out(tmp_path: Path, refused) -> None:
    packet = "ffmpeg_image_transport_msgs/msg/FFMPEGPacket"
    items = [item for item in drive() if not item.topic.endswith("compressed")]
    items.append(Item("/camera/image/ffmpeg", packet, START, b"\0\1\0\0"))
    said = refused(write_mcap(tmp_path / "a.mcap", items, {packet: ("ros2msg", "uint8[] data")}))
    assert "/camera/image/ffmpeg holds ffmpeg_image_transport_msgs/msg/FFMPEGPacket" in said
    assert "republish" in said


def test_a_message_that_cannot_be_read_is_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    items = list(drive(8))
    for topic in ("/odom", "/camera/image/compressed", "/tf_static"):
        at = [i for i, item in enumerate(items) if item.topic == topic][0 if "tf" in topic else 3]
        items.insert(at, items[at]._replace(message=b"\0\1\0\0\1"))
    path = write_mcap(tmp_path / "a.mcap", items, {})
    assert stamps(path) == ALL
    assert {record.getMessage().split(": ", 1)[1] for record in caplog.records} == {
        "1 of 19 messages of /odom: 1 damaged (first: recorded at 100.150000 s) are left out",
        "1 of 2 messages of /tf_static: 1 damaged (first: recorded at 100.000000 s) are left out",
        "1 of 9 images of /camera/image/compressed: 1 damaged (first: recorded at 100.300000 s) "
        "are left out",
    }


def record(kind: int, body: bytes) -> bytes:
    return struct.pack("<BQ", kind, len(body)) + body


def text(value: str) -> bytes:
    return struct.pack("<I", len(value)) + value.encode()


def hostile_mcap(*chunks: tuple[str, bytes, int]) -> bytes:
    """Chunks of one image topic: compression, data, and the size that they declare."""
    schema = struct.pack("<H", 1) + text("sensor_msgs/msg/CompressedImage") + text("") + text("")
    channel = struct.pack("<HH", 1, 1) + text("/a/image") + text("cdr") + text("")
    data = MAGIC + record(1, text("ros2") + text("")) + record(3, schema) + record(4, channel)
    for compression, packed, size in chunks:
        head = struct.pack("<QQQI", 0, 1, size, 0) + text(compression)
        data += record(6, head + struct.pack("<Q", len(packed)) + packed)
    return data + record(15, bytes(4)) + record(2, bytes(20)) + MAGIC


ZEROS = zstd.compress(bytes(2**26))
MESSAGE = record(5, struct.pack("<HIQQ", 1, 0, 1, 1))


@pytest.mark.parametrize(
    ("chunks", "said"),
    [
        ([("zstd", ZEROS, 2**60)], "a chunk declares"),
        ([("zstd", ZEROS, 1000)], "does not hold the 1000 bytes"),
        ([("lz4", lz4.frame.compress(bytes(2**20)), 10)], "does not hold the 10 bytes"),
        ([("zstd", ZEROS, 2**26)], "a record of kind 0"),
        ([("zstd", ZEROS[:-9], 2**26)], "does not hold"),
        ([("rar", b"", 0)], "compressed by 'rar'"),
        ([("zstd", zstd.compress(MESSAGE * 400_000), 31 * 400_000)], "more records than the file"),
        ([("", b"\5" + b"\xff" * 8, 9)], "a record is longer"),
    ],
)
def test_a_chunk_takes_no_more_memory_or_time_than_its_file_is_worth(
    tmp_path: Path, chunks, said: str, refused
) -> None:
    (tmp_path / "a.mcap").write_bytes(hostile_mcap(*chunks))
    assert said in refused(tmp_path / "a.mcap")


def test_what_a_bag_says_of_types_that_are_known_does_not_matter(tmp_path: Path) -> None:
    """Hashes of another distribution, definitions of a kind that is not known, other formats."""
    bag = write_bag(tmp_path / "bag", drive(8), StoragePlugin.SQLITE3)
    (file,) = bag.glob("*.db3")
    database = sqlite3.connect(file)
    database.executescript(
        "UPDATE topics SET type_description_hash = 'RIHS01_0';"
        "UPDATE message_definitions SET encoding = 'unknown';"
        "INSERT INTO topics SELECT 99, '/gear', 'my_msgs/msg/Gear', 'protobuf', '', 'RIHS01_1'"
    )
    database.close()
    metadata = (bag / "metadata.yaml").read_text()
    (bag / "metadata.yaml").write_text(metadata.replace("version: 8", "version: 99"))
    assert stamps(bag) == ALL


def test_an_mcap_file_of_ros1_messages_is_read(tmp_path: Path) -> None:
    types = ros1_typestore()
    path = ros1_of(tmp_path / "a.bag", drive(8))
    with open_storage(path) as storage, (tmp_path / "a.mcap").open("wb") as file:
        writer = McapWriter(file)
        writer.start(profile="ros1")
        for channel in storage.channels:
            text = types.generate_msgdef(channel.msgtype)[0].encode()
            name = channel.msgtype.replace("/msg/", "/")
            schema = writer.register_schema(name, "ros1msg", text)
            number = writer.register_channel(channel.topic, "ros1", schema)
            for each in storage.records([channel]):
                writer.add_message(number, each.time_ns, bytes(each.data or b""), each.time_ns)
        writer.finish()
    assert stamps(tmp_path / "a.mcap") == ALL


def test_each_camera_says_what_is_left_out_of_it_also_where_a_reader_stops_early(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    items = []
    for item in drive(20):
        items.append(item)
        if item.topic.startswith("/camera/"):
            items.append(item._replace(topic=item.topic.replace("/camera/", "/left/")))
    second = [item for item in items if item.topic == "/left/image/compressed"][1]
    items[items.index(second)] = second._replace(message=b"\0\1\0\0")
    path = write_mcap(tmp_path / "a.mcap", items, {})
    topics = ("/camera/image/compressed", "/left/image/compressed")
    recording = open_recording(path, RecordingSettings(image_topics=topics))
    frames = recording.frames()
    assert [next(frames).camera for _ in range(5)] == ["camera", "left", "camera", "camera", "left"]
    frames.close()
    said = "1 of 3 images of /left/image/compressed: 1 damaged (first: recorded at 100.100000 s)"
    assert [record.getMessage() for record in caplog.records] == [f"{path}: {said} are left out"]
    caplog.clear()
    assert (len(list(recording.frames())), recording.frame_count) == (39, 40)
    assert "1 of 20 images of /left/image/compressed" in caplog.text


@pytest.mark.parametrize(
    "change",
    [
        "ALTER TABLE messages RENAME TO m; CREATE VIEW messages AS SELECT * FROM m",
        "CREATE TABLE m(id, topic_id, timestamp, data AS (zeroblob(1000000000)));"
        "INSERT INTO m SELECT id, topic_id, timestamp FROM messages;"
        "DROP TABLE messages; ALTER TABLE m RENAME TO messages",
        "ALTER TABLE messages DROP COLUMN data",
    ],
)
def test_tables_that_are_no_tables_are_refused(tmp_path: Path, change: str, refused) -> None:
    bag = write_bag(tmp_path / "bag", drive(), StoragePlugin.SQLITE3)
    (file,) = bag.glob("*.db3")
    database = sqlite3.connect(file)
    database.executescript(change)
    database.close()
    assert "lacks rosbag2's table 'messages'" in refused(bag)


def test_images_alone_need_nothing_else_of_a_bag(tmp_path: Path, caplog) -> None:
    """Calibration, mounting and odometry are damaged; no other topic is looked at."""
    items = []
    for item in drive(8):
        damaged = item.topic != "/camera/image/compressed"
        items.append(item._replace(message=b"\xff" * 40) if damaged else item)
    schemas = {"nav_msgs/msg/Odometry": ("ros2msg", "uint32 x")}
    path = write_mcap(tmp_path / "a.mcap", items, schemas)
    with caplog.at_level(logging.WARNING):
        images = open_images(path)
        assert [f"{frame.stamp:.1f}" for frame in images.frames()] == ALL
    assert (tuple(images.camera_names), images.frame_count) == (("camera",), 8)
    assert not caplog.records


def test_a_transform_that_is_not_valid_is_missed_only_where_it_is_needed(
    tmp_path: Path, refused, caplog: pytest.LogCaptureFixture
) -> None:
    items = list(drive())
    (message,) = of_type(items, "TFMessage")
    message.transforms[0].transform.rotation.w = np.nan
    said = refused(write_bag(tmp_path / "bag", items))
    assert "no static transform from base_link to the camera's frame" in said
    assert "1 transforms are not valid" in caplog.text
    assert f"base_link -> {world_drive.OPTICAL_FRAME}" in caplog.text


def test_of_a_topic_with_two_types_the_one_with_messages_counts(tmp_path: Path) -> None:
    string = BAG_TYPES.make("std_msgs/msg/String", data="no image")
    items = [Item("/camera/image/compressed", "std_msgs/msg/String", START, string), *drive(8)]
    path = tmp_path / "a.mcap"
    with path.open("wb") as file:
        writer = McapWriter(file)
        writer.start(profile="ros2")
        for topic, msgtype, t, message in items:
            schema = writer.register_schema(msgtype, "", b"")
            channel = writer.register_channel(topic, "cdr", schema)
            data = bytes(TYPESTORE.serialize_cdr(message, msgtype))
            writer.add_message(channel, round(t * 1e9), data, round(t * 1e9))
        writer.finish()
    assert stamps(path) == ALL
