"""Check that a torch file contains only tensors, by reading its pickle's opcodes; nothing is unpickled."""

from __future__ import annotations

import os
import pickletools
import re
import zipfile
from collections.abc import Iterator

from radimagenet_monai.collection.verification.zip_layout import ZipLayoutError, check_zip_layout

MAX_PICKLE_BYTES = 64 * 2**20

_TENSOR_NAMES = frozenset(
    {
        "collections OrderedDict",
        "torch._utils _rebuild_tensor_v2",
        "torch._utils _rebuild_parameter",
        *(
            f"torch {kind}Storage"
            for kind in [
                "Float",
                "Double",
                "Half",
                "BFloat16",
                "Long",
                "Int",
                "Short",
                "Char",
                "Byte",
                "Bool",
                "ComplexFloat",
                "ComplexDouble",
            ]
        ),
    }
)
"""What `torch.save` names in the pickle of a state dict."""

# Opcodes other than GLOBAL that look up a name: `torch.save` (pickle protocol 2) does not use them.
_OTHER_LOOKUPS = frozenset({"STACK_GLOBAL", "INST", "OBJ", "NEWOBJ", "NEWOBJ_EX", "EXT1", "EXT2", "EXT4", "PERSID"})


# Inside the archive's one folder.
_MEMBER = re.compile(
    r"data\.pkl|data/\d+|byteorder|version|\.format_version|\.storage_alignment|\.data/serialization_id"
)


def torch_file_problems(path: str | os.PathLike[str]) -> list[str]:
    """Reasons why the file is not an archive of `torch.save` with only tensors and plain containers; empty if it is."""
    try:
        with open(path, "rb") as stream:
            # torch reads the first bytes, zipfile the last: a pickle followed by an archive is both.
            if stream.read(4) != b"PK\x03\x04":
                return ["it is not a torch file of tensors; a bare pickle may run code and is refused"]
            with zipfile.ZipFile(stream) as archive:
                problems = list(_archive_problems(archive))
            if not problems:
                check_zip_layout(stream)
            return problems
    except (FileNotFoundError, PermissionError):
        raise
    except ZipLayoutError as error:
        return [f"readers may see different tensors in it: {error}"]
    except Exception as error:  # zipfile can raise anything on damaged bytes
        return [f"it is a damaged torch file ({type(error).__name__}: {error})"]


def _archive_problems(archive: zipfile.ZipFile) -> Iterator[str]:
    names = archive.namelist()
    for name in names:
        inner = name.partition("/")[2]
        if inner.startswith("code/") or inner == "constants.pkl":
            yield f"it holds {name!r}, so it is a TorchScript program and no file of tensors"
            return
        if not _MEMBER.fullmatch(inner):
            yield f"it holds {name!r}, which is no part of a file of tensors"
            return
        if archive.getinfo(name).compress_type != zipfile.ZIP_STORED:
            yield f"it holds {name!r} compressed, which torch does not write"
            return
    pickles = [name for name in names if name.endswith("/data.pkl")]
    if len(pickles) != 1 or len({name.partition("/")[0] for name in names}) != 1:
        yield "it does not hold one data.pkl in one folder"
    elif archive.getinfo(pickles[0]).file_size > MAX_PICKLE_BYTES:
        yield f"its data.pkl is larger than {MAX_PICKLE_BYTES:,} bytes"
    else:
        yield from _pickle_problems(archive.read(pickles[0]))


def _pickle_problems(data: bytes) -> Iterator[str]:
    try:
        for opcode, argument, _ in pickletools.genops(data):
            if opcode.name == "GLOBAL" and argument not in _TENSOR_NAMES:
                yield f"it names {str(argument).replace(' ', '.')!r}, which could run code"
            elif opcode.name in _OTHER_LOOKUPS:
                yield f"its pickle has the opcode {opcode.name}, which torch does not write for tensors"
    except Exception as error:  # pickletools can raise anything on damaged bytes
        yield f"its pickle is damaged ({type(error).__name__})"
