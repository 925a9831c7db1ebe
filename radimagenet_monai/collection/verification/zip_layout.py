"""Check that every reader sees the same members in a zip file.

A zip file states its members twice: in a header in front of each, and in the directory at the end. Readers differ in
which they trust, in where they look for the end, and in how they treat bytes that belong to neither. A file is
therefore accepted only if headers and data have no gaps, the directory follows directly, the end record follows
directly after that, and both statements agree (PKWARE's APPNOTE, sections 4.3 and 4.4).
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

MAX_MEMBERS = 100_000
MAX_DIRECTORY_BYTES = 64 * 2**20

_LOCAL = struct.Struct("<4s5H3I2H")
_CENTRAL = struct.Struct("<4s6H3I5H2I")
_END = struct.Struct("<4s4H2IH")
_END64 = struct.Struct("<4sQ2H2I4Q")
_LOCATOR64 = struct.Struct("<4sIQI")

_IN_DESCRIPTOR = 0x8  # sizes and CRC-32 follow the data
_FULL16, _FULL32 = 0xFFFF, 0xFFFFFFFF
_ZIP64_EXTRA = 0x0001
# Fields that do not affect name or content: times (NTFS, Unix), owners, and torch's padding.
_HARMLESS_EXTRA = {_ZIP64_EXTRA, 0x000A, 0x5455, 0x5855, 0x7875, 0x4246}


class ZipLayoutError(Exception):
    """Reason why a zip file is ambiguous."""


@dataclass(frozen=True)
class _Entry:
    """A member as stated in the directory."""

    name: bytes
    flags: int
    method: int
    crc: int
    packed: int
    size: int
    offset: int


def check_zip_layout(stream: BinaryIO) -> None:
    """Raise `ZipLayoutError` unless the whole file is one unambiguous zip archive."""
    length = stream.seek(0, os.SEEK_END)
    directory, size, count, end = _read_end(stream, length)
    if count > MAX_MEMBERS or size > MAX_DIRECTORY_BYTES:
        raise ZipLayoutError(f"its directory has {count} members in {size:,} bytes")
    if directory + size != end:
        raise ZipLayoutError("its directory does not stand right before the end record")
    entries = list(_read_directory(_read_at(stream, directory, size), count))
    names = {entry.name for entry in entries}
    if len(names) != len(entries):
        raise ZipLayoutError("a member stands twice in its directory")
    if odd := next((name for name in names if min(name, default=0) < 0x20), None):
        raise ZipLayoutError(f"a member has the name {_shown(odd)}")
    expected = 0
    for entry in sorted(entries, key=lambda entry: entry.offset):
        if entry.offset != expected:
            raise ZipLayoutError(f"there are bytes that belong to no member before {_shown(entry.name)}")
        expected = _check_local(stream, entry)
    if expected != directory:
        raise ZipLayoutError("there are bytes that belong to no member before its directory")


def _read_end(stream: BinaryIO, length: int) -> tuple[int, int, int, int]:
    """Offset, size and number of entries of the directory, and the offset of the end records."""
    start = length - _END.size
    if start < 0:
        raise ZipLayoutError("it is too short for a zip archive")
    signature, *numbers, comment = _END.unpack(_read_at(stream, start, _END.size))
    if signature != b"PK\x05\x06" or comment:
        raise ZipLayoutError("it does not end with the end record of a zip archive, or carries a comment")
    disk, first_disk, here, count, size, offset = numbers
    locator = start - _LOCATOR64.size
    if locator >= 0 and _read_at(stream, locator, 4) == b"PK\x06\x07":
        _, disk64, place, disks = _LOCATOR64.unpack(_read_at(stream, locator, _LOCATOR64.size))
        if disk64 or disks != 1 or place != locator - _END64.size:
            raise ZipLayoutError("its zip64 end record is not where the locator says, or not the only one")
        signature, record, _, _, *wide = _END64.unpack(_read_at(stream, place, _END64.size))
        if signature != b"PK\x06\x06" or record != _END64.size - 12:
            raise ZipLayoutError("its zip64 end record is not as expected")
        # Readers use either record, so the two must agree, or the short one must point to the long one.
        for narrow, number, full in zip(numbers, wide, [_FULL16] * 4 + [_FULL32] * 2, strict=True):
            if narrow not in (number, full):
                raise ZipLayoutError("its two end records differ")
        disk, first_disk, here, count, size, offset = wide
        start = place
    if disk or first_disk or here != count:
        raise ZipLayoutError("it is part of an archive of several files")
    return offset, size, count, start


def _read_directory(data: bytes, count: int) -> Iterator[_Entry]:
    position = 0
    for _ in range(count):
        if position + _CENTRAL.size > len(data):
            raise ZipLayoutError("its directory is shorter than stated")
        fields = _CENTRAL.unpack_from(data, position)
        signature, _, _, flags, method, _, _, crc, packed, size, name, extra, comment, disk, _, _, offset = fields
        if signature != b"PK\x01\x02" or disk or comment:
            raise ZipLayoutError("its directory holds something else than plain entries")
        position += _CENTRAL.size
        entry_name = data[position : position + name]
        wide = _extra_fields(data[position + name : position + name + extra], entry_name).get(_ZIP64_EXTRA, b"")
        position += name + extra
        numbers = []
        for number in (size, packed, offset):
            if number == _FULL32:
                if len(wide) < 8:
                    raise ZipLayoutError(f"{_shown(entry_name)} has no zip64 size")
                number, wide = int.from_bytes(wide[:8], "little"), wide[8:]
            numbers.append(number)
        if wide:
            raise ZipLayoutError(f"{_shown(entry_name)} has zip64 sizes beside its plain ones")
        yield _Entry(entry_name, flags, method, crc, numbers[1], numbers[0], numbers[2])
    if position != len(data):
        raise ZipLayoutError("its directory is longer than its entries")


def _check_local(stream: BinaryIO, entry: _Entry) -> int:
    """Compare the header in front of a member with the directory; returns where the member ends."""
    fields = _LOCAL.unpack(_read_at(stream, entry.offset, _LOCAL.size))
    signature, _, flags, method, _, _, crc, packed, size, name, extra = fields
    shown = _shown(entry.name)
    if signature != b"PK\x03\x04":
        raise ZipLayoutError(f"{shown} has no header where the directory says")
    names = _read_at(stream, entry.offset + _LOCAL.size, name + extra)
    if names[:name] != entry.name:
        raise ZipLayoutError(f"{shown} is called {_shown(names[:name])} in its own header")
    if (flags, method) != (entry.flags, entry.method):
        raise ZipLayoutError(f"{shown} is packed in another way by its own header")
    wide = _extra_fields(names[name:], entry.name).get(_ZIP64_EXTRA, b"")
    end = entry.offset + _LOCAL.size + name + extra + entry.packed
    if flags & _IN_DESCRIPTOR and (crc, packed, size) in ((0, 0, 0), (0, _FULL32, _FULL32)):
        return _check_descriptor(stream, entry, end)
    if _FULL32 in (packed, size) and len(wide) >= 16:
        size, packed = struct.unpack_from("<QQ", wide)
    if (crc, packed, size) != (entry.crc, entry.packed, entry.size):
        raise ZipLayoutError(f"{shown} has another size or CRC-32 in its own header")
    return end


def _check_descriptor(stream: BinaryIO, entry: _Entry, end: int) -> int:
    for layout in ("<4sIII", "<4sIQQ"):
        descriptor = struct.pack(layout, b"PK\x07\x08", entry.crc, entry.packed, entry.size)
        stream.seek(end)
        if stream.read(len(descriptor)) == descriptor and _starts_record(stream):
            return end + len(descriptor)
    raise ZipLayoutError(f"{_shown(entry.name)} has another size or CRC-32 behind its data")


def _starts_record(stream: BinaryIO) -> bool:
    return stream.read(4) in (b"PK\x03\x04", b"PK\x01\x02")


def _extra_fields(data: bytes, name: bytes) -> dict[int, bytes]:
    fields: dict[int, bytes] = {}
    position = 0
    while position < len(data):
        if position + 4 > len(data):
            raise ZipLayoutError(f"{_shown(name)} has a damaged extra field")
        kind, size = struct.unpack_from("<HH", data, position)
        if kind in fields or position + 4 + size > len(data):
            raise ZipLayoutError(f"{_shown(name)} has a damaged extra field")
        if kind not in _HARMLESS_EXTRA:
            raise ZipLayoutError(f"{_shown(name)} has an extra field (0x{kind:04x}) that may give it another name")
        fields[kind] = data[position + 4 : position + 4 + size]
        position += 4 + size
    return fields


def _read_at(stream: BinaryIO, offset: int, size: int) -> bytes:
    stream.seek(offset)
    data = stream.read(size)
    if len(data) != size:
        raise ZipLayoutError("it ends within a record")
    return data


def _shown(name: bytes) -> str:
    return repr(name.decode("utf-8", "backslashreplace"))
