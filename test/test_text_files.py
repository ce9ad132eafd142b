import codecs
from pathlib import Path

import pytest

from fgsn_ros.config import load_yaml
from fgsn_ros.segmentation.labels import LABEL_SET_FILE, LabelSet, read_label_set, write_label_set
from fgsn_ros.text_files import read_text

TEXT = "1.5 Größe\n"


@pytest.mark.parametrize("mark", [b"", codecs.BOM_UTF8])
def test_text_is_read_with_and_without_a_byte_order_mark(tmp_path, mark):
    (tmp_path / "a.txt").write_bytes(mark + TEXT.encode())
    assert read_text(tmp_path / "a.txt") == TEXT


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (TEXT.encode("utf-16"), "UTF-16"),
        (TEXT.encode("utf-16-be"), "UTF-16"),
        (TEXT.encode("latin-1"), "byte 6 is 0xf6"),
    ],
)
def test_other_text_is_named_in_one_line(tmp_path, data, said):
    (tmp_path / "a.txt").write_bytes(data)
    with pytest.raises(UnicodeError, match=said) as error:
        read_text(tmp_path / "a.txt")
    assert "\n" not in str(error.value)


def test_a_file_too_large_and_a_path_that_cannot_be_are_refused(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"1" * 11)
    with pytest.raises(OSError, match="larger than 10 bytes"):
        read_text(tmp_path / "a.txt", most_bytes=10)
    with pytest.raises(OSError, match="null"):
        read_text(Path("a\0b"))


def test_settings_and_json_may_begin_with_a_byte_order_mark(tmp_path):
    (tmp_path / "a.yaml").write_bytes(codecs.BOM_UTF8 + b"first: 3\n")
    assert load_yaml(tmp_path / "a.yaml") == {"first": 3}
    written = LabelSet("fgsn", 2, 8, None, "abc")
    write_label_set(tmp_path, written)
    path = tmp_path / LABEL_SET_FILE
    path.write_bytes(codecs.BOM_UTF8 + path.read_bytes())
    assert read_label_set(path) == written
