"""Each trap of an archive is refused, or said of the entry that it is in."""

from __future__ import annotations

import stat
import zipfile
from io import BytesIO
from pathlib import Path

import pytest

from core.errors import InvalidArchive
from core.exchange.reading import archive as module
from core.exchange.reading.source import Unreadable
from tests.core.exchange.archives import (
    FLAGS,
    METHOD,
    MODE,
    OFFSET,
    SIZE,
    opened,
    packed,
    patched,
    photo,
    photos,
    put,
)

pytestmark = pytest.mark.slow  # not in make check

TWO = packed(photos("cat/1.png", "dog/2.png"))
MAX_BYTES = 1_000_000


def problems(folder: Path, content: bytes) -> dict[str, str | None]:
    with opened(folder, content) as archive:
        return {file.path: file.unreadable for file in archive.files}


def test_entries_are_read_one_by_one_and_nothing_is_extracted(tmp_path: Path) -> None:
    with opened(tmp_path, TWO) as archive:
        assert [archive.read(file, MAX_BYTES) for file in archive.files] == [photo(0), photo(1)]
    assert [path.name for path in tmp_path.iterdir()] == ["photos.zip"]


def test_archive_without_entries_has_no_files(tmp_path: Path) -> None:
    with opened(tmp_path, packed({})) as archive:
        assert archive.files == []


@pytest.mark.parametrize(
    "name",
    [
        *("../evil.png", "cat/../../evil.png", "/etc/evil.png", "C:/evil.png", "c:evil.png"),
        *("..\\evil.png", "cat\\..\\..\\evil.png", "\\\\host\\evil.png", "C:\\evil.png"),
    ],
)
def test_path_out_of_the_archive_is_not_read(tmp_path: Path, name: str) -> None:
    found = problems(tmp_path, packed({name: photo(0), "cat/1.png": photo(1)}))
    assert sorted(why or "" for why in found.values()) == ["", "its path leads out of the archive"]


def test_backslashes_of_windows_are_folders(tmp_path: Path) -> None:
    assert problems(tmp_path, packed({"cat\\1.png": photo(0)})) == {"cat/1.png": None}


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR])
def test_link_or_device_is_not_read(tmp_path: Path, kind: int) -> None:
    content = patched(TWO, "cat/1.png", put(MODE, "<I", (kind | 0o777) << 16))
    assert problems(tmp_path, content)["cat/1.png"] == "a link, or another file without content"


def test_encrypted_entry_is_not_read(tmp_path: Path) -> None:
    content = patched(TWO, "cat/1.png", put(FLAGS, "<H", 1))
    assert "encrypted" in str(problems(tmp_path, content)["cat/1.png"])


@pytest.mark.parametrize("method", [9, 12, 14, 93, 99])
def test_other_compression_is_not_read(tmp_path: Path, method: int) -> None:
    content = patched(TWO, "cat/1.png", put(METHOD, "<H", method))
    assert f"method {method}" in str(problems(tmp_path, content)["cat/1.png"])


def test_second_file_of_a_name_is_not_read(tmp_path: Path) -> None:
    out = BytesIO()
    with zipfile.ZipFile(out, "w") as written:
        written.writestr("cat/1.png", photo(0))
        with pytest.warns(UserWarning, match="Duplicate"):
            written.writestr("cat/1.png", photo(1))
    with opened(tmp_path, out.getvalue()) as archive:
        assert [file.unreadable for file in archive.files] == [
            None,
            "another file of the archive has this name",
        ]


def test_overlapping_entries_are_a_bomb(tmp_path: Path) -> None:
    content = patched(TWO, "dog/2.png", put(OFFSET, "<I", 0))
    with pytest.raises(InvalidArchive, match="overlap, as those of a bomb"):
        opened(tmp_path, content)


def test_entry_that_lies_in_the_one_before_is_a_bomb(tmp_path: Path) -> None:
    content = patched(TWO, "dog/2.png", put(OFFSET, "<I", 50))
    with pytest.raises(InvalidArchive, match="overlap"):
        opened(tmp_path, content)


def test_archive_that_unpacks_to_far_more_is_a_bomb(tmp_path: Path) -> None:
    content = patched(TWO, "cat/1.png", put(SIZE, "<I", 4_000_000_000))
    with pytest.raises(InvalidArchive, match="would unpack to 4,000,"):
        opened(tmp_path, content)


def test_entry_above_the_limit_is_not_unpacked(tmp_path: Path) -> None:
    archive = opened(tmp_path, packed({"cat/1.png": bytes(300_000)}))
    with archive, pytest.raises(Unreadable, match="too large: 300,000 bytes; the limit is 1,000"):
        archive.read(archive.files[0], 1_000)


def test_entry_that_unpacks_to_more_than_it_says_is_cut_and_damaged(tmp_path: Path) -> None:
    content = packed({"cat/1.png": bytes(5_000_000)})
    archive = opened(tmp_path, patched(content, "cat/1.png", put(SIZE, "<I", 1_000)))
    with archive, pytest.raises(Unreadable, match="damaged"):
        archive.read(archive.files[0], MAX_BYTES)


def test_damaged_entry_leaves_the_others_readable(tmp_path: Path) -> None:
    content = bytearray(packed(photos("cat/1.png", "dog/2.png"), zipfile.ZIP_STORED))
    content[len(photo(0)) // 2] ^= 0xFF
    with opened(tmp_path, bytes(content)) as archive:
        damaged, well = archive.files
        with pytest.raises(Unreadable, match="damaged"):
            archive.read(damaged, MAX_BYTES)
        assert archive.read(well, MAX_BYTES) == photo(1)


@pytest.mark.parametrize("kept", [0, 1, 10, 100, len(TWO) // 2, len(TWO) - 30, len(TWO) - 1])
def test_truncated_archive_is_refused(tmp_path: Path, kept: int) -> None:
    with pytest.raises(InvalidArchive, match=r"photos\.zip"):
        opened(tmp_path, TWO[:kept])


def test_table_with_garbage_is_refused(tmp_path: Path) -> None:
    content = bytearray(TWO)
    content[content.find(b"PK\x01\x02") + 2] = 0
    with pytest.raises(InvalidArchive, match="damaged"):
        opened(tmp_path, bytes(content))


def test_too_many_entries_are_refused_before_they_are_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = packed({f"cat/{n}.png": b"" for n in range(40)})
    monkeypatch.setattr(module, "_CHUNK_BYTES", 100)
    monkeypatch.setattr(module, "MAX_ENTRIES", 40)
    opened(tmp_path, content).close()
    monkeypatch.setattr(module, "MAX_ENTRIES", 39)
    with pytest.raises(InvalidArchive, match="more than 39 entries"):
        opened(tmp_path, content)
    monkeypatch.setattr(module, "_MAX_TABLE_BYTES", 500)
    with pytest.raises(InvalidArchive, match="table has"):
        opened(tmp_path, content)


def test_zip64_is_read(tmp_path: Path) -> None:
    out = BytesIO()
    with (
        zipfile.ZipFile(out, "w") as written,
        written.open("cat/1.png", "w", force_zip64=True) as entry,
    ):
        entry.write(photo(0))
    with opened(tmp_path, out.getvalue()) as read:
        assert read.read(read.files[0], MAX_BYTES) == photo(0)


@pytest.mark.parametrize(
    ("raw", "expected"),
    [("Äpfel".encode(), "Äpfel"), ("Äpfel".encode("cp437"), "Äpfel"), (b"\xff\x01", "\xa0\x01")],
)
def test_name_without_a_mark_is_utf8_or_code_page_437(
    tmp_path: Path, raw: bytes, expected: str
) -> None:
    name = b"x" * len(raw)
    content = packed({f"{name.decode()}/1.png": photo(0)}).replace(name + b"/1", raw + b"/1")
    with opened(tmp_path, content) as archive:
        assert archive.files[0].parts[0] == expected


def test_folders_are_no_files_and_odd_paths_are_made_plain(tmp_path: Path) -> None:
    content = packed({"cat/": b"", "./cat//1.png": photo(0)})
    assert problems(tmp_path, content) == {"cat/1.png": None}
