"""``read_image``: the single entry point for every image file, whatever its format."""

from __future__ import annotations

import contextlib
import hashlib
import os
import threading
import zipfile
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from radimagenet_monai.core.errors import UnreadableImageError
from radimagenet_monai.io.dicom.files import read_dicom_file, read_dicom_series
from radimagenet_monai.io.dicom.header_facts import HeaderFacts, header_facts, known_facts
from radimagenet_monai.io.dicom.series_kind import ACROSS, COPY, kinds_against
from radimagenet_monai.io.discovery.left_out import HIDDEN, NO_PIXELS, SYSTEM_FILE, TEXT, LeftOut
from radimagenet_monai.io.discovery.walk import walk_files
from radimagenet_monai.io.failures import stage
from radimagenet_monai.io.formats.detached import file_beside
from radimagenet_monai.io.formats.metaimage import is_metaimage, metaimage_layout, read_metaimage, read_metaimage_header
from radimagenet_monai.io.formats.nrrd import read_nrrd_header
from radimagenet_monai.io.formats.picture import array_slices, picture_pages, read_array, read_picture
from radimagenet_monai.io.formats.volume import (
    GZIP_MAGIC,
    gunzipped_head,
    nifti_class,
    read_nifti,
    read_nrrd,
    volume_layout,
)
from radimagenet_monai.io.formats.volume_pairs import (
    header_of_pixels,
    is_analyze,
    is_mgh,
    mgh_layout,
    pair_class,
    pair_layout,
    read_mgh,
    read_pair,
)
from radimagenet_monai.io.geometry import Plane, PlaneChoice, require_plane
from radimagenet_monai.io.limits import MAX_CACHED_BYTES, MAX_DECODED_BYTES, MAX_SERIES_FILES
from radimagenet_monai.io.native_image import NativeImage

_HEAD_BYTES = 540
_MAX_HEADER_BYTES = 1 << 26  # of a DICOM file in an archive; the pixels behind it are not needed
_DICOM_SUFFIXES = frozenset({".dcm", ".dicom", ".dic", ".ima"})
_SUPPORTED = (
    "DICOM, NIfTI, NRRD, MetaImage, FreeSurfer, PNG, JPEG, JPEG 2000, TIFF, BMP, GIF, WebP, NPY and ZIP are read"
)
_PICTURES = (
    *(b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"II*\0", b"MM\0*", b"II+\0", b"MM\0+", b"GIF87a", b"GIF89a"),
    *(b"\0\0\0\x0cjP  \r\n\x87\n", b"\xff\x4f\xff\x51"),
)
# The first element of a DICOM file without preamble: group 2 or 8, little or big endian, with a plausible element.
_BARE_DICOM = tuple(
    group.to_bytes(2, order) + element.to_bytes(2, order)
    for order in ("little", "big")
    for group, element in ((2, 0), (2, 1), (2, 2), (2, 0x10), (8, 0), (8, 1), (8, 5), (8, 8), (8, 0x16), (8, 0x18))
)
_SYSTEM_NAMES = frozenset({"thumbs.db", "desktop.ini", "dicomdir", "version", "lockfile"})
_TEXT_SUFFIXES = frozenset(
    {
        *(".xml", ".csv", ".tsv", ".xlsx", ".xls", ".txt", ".json", ".md", ".rst", ".pdf", ".html", ".htm", ".log"),
        *(".yaml", ".yml", ".ini", ".cfg", ".toml", ".sha256", ".md5", ".py", ".docx", ".doc"),
    }
)
_TEXT_NAMES = frozenset({"readme", "license", "licence", "changelog", "makefile", "md5sums", "sha256sums"})


def read_image(path: str | os.PathLike[str], plane: PlaneChoice = "acquired") -> NativeImage:
    """Read all frames of an image file, or of the one DICOM series in a folder or ZIP archive.

    The format is detected from the content; the suffix only decides for files without a signature.

    Parameters
    ----------
    path
        A DICOM, NIfTI, NRRD, MetaImage, FreeSurfer, PNG, JPEG, JPEG 2000, TIFF, BMP, GIF, WebP, NPY or ZIP file, or a
        folder. For a volume in two files, the header (``.mhd``, ``.nhdr``, ``.hdr``), or the ``.img`` file of a pair.
    plane
        Plane of the frames: ``"axial"``, ``"coronal"``, ``"sagittal"``, or ``"acquired"``, the plane in which a volume
        was acquired slice by slice (`radimagenet_monai.io.geometry.acquisition_axis`). For a plane other than the
        acquired one, the axes of the volume or the stack are exchanged; nothing is interpolated. Pictures and arrays,
        which do not state their plane, are taken to be in the named plane.

    Returns
    -------
    NativeImage
        Upright frames of stored values, with only the header elements in ``HEADER_KEYWORDS``.

    Raises
    ------
    UnreadableImageError
        If the input cannot be read completely, or slices in ``plane`` would need interpolation.
    ConfigurationError
        For an unknown plane. No other exception leaves this function.
    """
    require_plane(plane)
    name = os.fspath(path)
    with stage(name, "open"):
        if Path(name).is_dir():
            return read_dicom_series(name, series_of(name, dicom_files_below(name)), plane)
        if not Path(name).exists():
            raise UnreadableImageError(name, "open", "there is no such file")
        if not Path(name).is_file():
            raise UnreadableImageError(name, "open", "it is neither a file nor a folder")
        kind = image_kind(name)
        if kind is None:
            raise UnreadableImageError(name, "open", _unknown(name))
        return _READERS[kind](name, plane)


def image_kind(path: str | os.PathLike[str]) -> str | None:
    """The format of a file from its first bytes.

    Returns
    -------
    str or None
        ``"dicom"``, ``"nifti"``, ``"pair"`` (NIfTI or Analyze in two files), ``"nrrd"``, ``"metaimage"``, ``"mgh"``,
        ``"picture"``, ``"npy"``, ``"zip"``, or ``None`` for anything else.

    Raises
    ------
    OSError
        If the file cannot be opened.
    """
    with open(path, "rb") as stream:
        head = stream.read(_HEAD_BYTES)
        size = os.fstat(stream.fileno()).st_size
    kind = _kind_of(head, os.fspath(path), size)
    if kind is None and (header := header_of_pixels(os.fspath(path))) is not None:
        return "pair" if image_kind(header) == "pair" else None
    return kind


def _kind_of(head: bytes, path: str, size: int) -> str | None:
    if head[128:132] == b"DICM":
        return "dicom"
    if head.startswith(_PICTURES) or (head.startswith(b"RIFF") and head[8:12] == b"WEBP"):
        return "picture"
    if head.startswith(b"\x93NUMPY"):
        return "npy"
    if head.startswith(b"NRRD000"):
        return "nrrd"
    if head.startswith(b"PK\x03\x04"):
        return "zip"
    gzipped = head.startswith(GZIP_MAGIC)
    volume = _volume_kind(gunzipped_head(path, _HEAD_BYTES) if gzipped and Path(path).is_file() else head)
    if volume is not None:
        return volume
    if is_metaimage(head):
        return "metaimage"
    if is_analyze(head, size):
        return "pair"
    if head.startswith(_BARE_DICOM):
        return "dicom"
    # Two letters are too weak a signature, so the size that follows must match as well.
    if head[:2] == b"BM" and int.from_bytes(head[2:6], "little") in (0, size):
        return "picture"
    if head and Path(path).suffix.lower() in _DICOM_SUFFIXES:
        return "dicom"
    return None


def data_file(path: str) -> str | None:
    """The file with the pixels beside an NRRD or MetaImage header; ``None`` if there is none or it is invalid."""
    try:
        kind = image_kind(path)
        if kind == "metaimage":
            name = read_metaimage_header(path).data_file
        else:
            name = read_nrrd_header(path).data_file if kind == "nrrd" else None
        return None if name is None else file_beside(path, name)
    except (OSError, ValueError):
        return None


def _volume_kind(head: bytes) -> str | None:
    """The kind of a possibly gzipped volume, from its decompressed head."""
    if nifti_class(head) is not None:
        return "nifti"
    if pair_class(head) is not None:
        return "pair"
    return "mgh" if is_mgh(head) else None


def count_frames(path: str | os.PathLike[str], plane: PlaneChoice = "acquired") -> int:
    """Number of frames that ``read_image`` would return, from headers alone; 1 if unknown.

    Raises
    ------
    ConfigurationError
        For an unknown plane.
    """
    require_plane(plane)
    name = os.fspath(path)
    try:
        if Path(name).is_dir():
            if plane not in ("acquired", "stored"):
                return len(read_image(name, plane))
            return sum(header_facts(file).frames for file in series_of(name, dicom_files_below(name)))
        kind = image_kind(name)
        if kind is None:
            return 1
        return _COUNTERS[kind](name, plane)
    except (OSError, UnreadableImageError):
        return 1


def is_junk(name: str) -> bool:
    """Whether a file's name shows that it is not an image: hidden files, thumbnails, tables, texts."""
    return junk_reason(name) is not None and name.lower() not in _TEXT_NAMES


def junk_reason(name: str) -> str | None:
    """Why a file is not an image, judged by its name; ``None`` if only the content can tell."""
    lower = name.lower()
    if name.startswith("."):
        return HIDDEN
    if lower in _SYSTEM_NAMES:
        return SYSTEM_FILE
    return TEXT if lower in _TEXT_NAMES or Path(lower).suffix in _TEXT_SUFFIXES else None


def read_frame(path: str | os.PathLike[str], frame: int, plane: PlaneChoice = "acquired") -> tuple[NativeImage, int]:
    """Read an image through a small per-process cache, so that a volume is not read again for each frame.

    Parameters
    ----------
    path
        As for `read_image`.
    frame
        Index of the frame, from 0.
    plane
        As for `read_image`; ``frame`` counts in this plane.

    Returns
    -------
    tuple of NativeImage and int
        The whole image, with read-only pixels because they are shared, and ``frame``.

    Raises
    ------
    UnreadableImageError
        As `read_image`, or if the image has no such frame.
    """
    image = _cache.get(os.fspath(path), plane)
    if not 0 <= frame < len(image):
        raise UnreadableImageError(
            image.path, "decode", f"frame {frame} was asked for; it has {len(image)} frame(s), counted from 0"
        )
    return image, frame


class _ImageCache:
    """The most recently read images that fit into ``MAX_CACHED_BYTES``, and always the last one."""

    def __init__(self) -> None:
        self._images: OrderedDict[tuple[str, str, str], NativeImage] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    def get(self, path: str, plane: PlaneChoice) -> NativeImage:
        with stage(path, "open"):
            key = (str(Path(path).resolve()), _stamp(path), plane)
        with self._lock:
            if key in self._images:
                self._images.move_to_end(key)
                return self._images[key]
        image = read_image(path, plane)
        image.pixels.setflags(write=False)
        with self._lock:
            if key in self._images:  # another thread has read it meanwhile
                self._bytes -= self._images.pop(key).pixels.nbytes
            self._images[key] = image
            self._bytes += image.pixels.nbytes
            while self._bytes > MAX_CACHED_BYTES and len(self._images) > 1:
                self._bytes -= self._images.popitem(last=False)[1].pixels.nbytes
        return image


_cache = _ImageCache()


def _stamp(path: str) -> str:
    """A value that changes when a file, or any file of a folder, changes."""
    if not Path(path).is_dir():
        status = Path(path).stat()
        return f"{status.st_mtime_ns} {status.st_size}"
    digest = hashlib.sha256()
    for file in _files_below(path):
        status = Path(file).stat()
        digest.update(f"{file}\0{status.st_mtime_ns} {status.st_size}\n".encode(errors="surrogateescape"))
    return digest.hexdigest()


def _unknown(path: str) -> str:
    if Path(path).stat().st_size == 0:
        return "the file is empty"
    return f"its content is of no known image format; {_SUPPORTED}"


def _files_below(folder: str) -> list[str]:
    """The files below ``folder`` that may belong to a series, sorted; refused if there are too many."""
    files: list[str] = []
    for path in walk_files(folder):
        files.append(path)
        if len(files) > MAX_SERIES_FILES:
            raise UnreadableImageError(
                folder, "open", f"it holds more than {MAX_SERIES_FILES} files; give the folder of one series"
            )
    return sorted(files)


def series_of(path: str, files: Iterable[str], left_out: LeftOut | None = None) -> list[str]:
    """The DICOM files that are slices of one series.

    Parameters
    ----------
    path
        Folder or archive, for errors.
    files
        DICOM files.
    left_out
        Receives the others, by reason: objects without an image, localizers, screen saves, derived images.

    Raises
    ------
    UnreadableImageError
        If there is no image, or images of several series.
    """
    left_out = LeftOut() if left_out is None else left_out
    files = list(files)
    reasons = {file: NO_PIXELS for file in files if not header_facts(file).has_pixels}
    kinds = kinds_against([file for file in files if file not in reasons])
    # The user must choose between two copies or two orientations: read_dicom_series refuses them.
    reasons.update({file: kind for file, kind in kinds.items() if kind not in (ACROSS, COPY)})
    series: dict[str, list[str]] = defaultdict(list)
    for file in files:
        if file in reasons:
            left_out.add(reasons[file], file)
        else:
            series[header_facts(file).series].append(file)
    if not series:
        found = f": {left_out.notes[0]}" if left_out else ""
        raise UnreadableImageError(path, "open", f"its DICOM files hold no image of a series{found}")
    if len(series) > 1:
        raise UnreadableImageError(
            path, "open", f"it holds {len(series)} series; give the folder of one series, or single files"
        )
    return next(iter(series.values()))


def dicom_files_below(folder: str) -> list[str]:
    """The DICOM files below a folder, sorted.

    Raises
    ------
    UnreadableImageError
        If there are none, or too many.
    """
    files = [file for file in _files_below(folder) if image_kind(file) == "dicom"]
    if not files:
        raise UnreadableImageError(folder, "open", "the folder holds no DICOM image; give an image file")
    return files


def _read_zip(path: str, plane: PlaneChoice) -> NativeImage:
    """Read the single image or series of an archive, unpacked within limits into a temporary folder."""
    with TemporaryDirectory(prefix="radimagenet-") as folder:
        files = _unpacked(path, folder)
        try:
            kinds = _image_kinds(files)
            if len(kinds) == 1 and "zip" not in kinds.values():
                image = read_image(next(iter(kinds)), plane)
            else:
                dicom = [file for file, kind in kinds.items() if kind == "dicom"]
                if not dicom:
                    raise UnreadableImageError(
                        path, "open", f"the archive holds {len(files)} files, not one image or DICOM series; unpack it"
                    )
                image = read_dicom_series(path, series_of(path, dicom), plane)
        except UnreadableImageError as exc:
            # The temporary name would mean nothing to the user.
            raise UnreadableImageError(path, exc.stage, exc.cause) from None
    return replace(image, path=path)


@contextlib.contextmanager
def unpacked_archive(path: str | os.PathLike[str]) -> Iterator[str]:
    """A temporary folder with the files of a ZIP archive, unpacked within limits; removed behind the context.

    Raises
    ------
    UnreadableImageError
        If the archive is damaged or beyond the limits.
    """
    with TemporaryDirectory(prefix="radimagenet-") as folder:
        _unpacked(os.fspath(path), folder)
        yield folder


def archived_facts(path: str | os.PathLike[str]) -> HeaderFacts | None:
    """Header facts of the first DICOM image of a ZIP archive; ``None`` without one, and for any other file.

    Raises
    ------
    UnreadableImageError
        If the archive is damaged.
    """
    name = os.fspath(path)
    with stage(name, "open"):
        if image_kind(name) != "zip":
            return None
        with TemporaryDirectory(prefix="radimagenet-") as folder, zipfile.ZipFile(name) as archive:
            for number, member in enumerate(_members(archive)):
                with archive.open(member) as stream:
                    head = stream.read(_HEAD_BYTES)
                    if _kind_of(head, member.filename, member.file_size) != "dicom":
                        continue
                    target = Path(folder) / str(number)
                    target.write_bytes(head + stream.read(_MAX_HEADER_BYTES))
                if (facts := known_facts(target)) is not None and facts.has_pixels:
                    return facts
    return None


def _image_kinds(files: Iterable[str]) -> dict[str, str]:
    """The images among the files of an archive; only the header for a pair of files."""
    kinds = {file: kind for file in files if (kind := image_kind(file)) is not None}
    return {file: kind for file, kind in kinds.items() if header_of_pixels(file) not in kinds}


def _unpacked(path: str, folder: str) -> list[str]:
    """Unpack an archive, each of its folders into a new folder; sizes stated in the archive are not trusted."""
    files = []
    total = 0
    places: dict[str, str] = {}
    with stage(path, "open"), zipfile.ZipFile(path) as archive:
        members = _members(archive)
        if len(members) > MAX_SERIES_FILES:
            raise UnreadableImageError(path, "open", f"the archive holds more than {MAX_SERIES_FILES} files")
        for member in members:
            above, name = os.path.split(member.filename.replace("\\", "/"))
            place = os.path.join(folder, places.setdefault(above, f"{len(places):06d}"))
            Path(place).mkdir(exist_ok=True)
            target = os.path.join(place, name)
            if Path(target).exists():
                raise UnreadableImageError(path, "open", "the archive holds two files of the same name; unpack it")
            with archive.open(member) as source, open(target, "xb") as sink:
                while block := source.read(1 << 20):
                    total += len(block)
                    if total > MAX_DECODED_BYTES:
                        raise UnreadableImageError(path, "open", "the archive inflates beyond the limit of this reader")
                    sink.write(block)
            files.append(target)
    return files


def _members(archive: zipfile.ZipFile) -> list[zipfile.ZipInfo]:
    """The files of an archive except hidden ones; a name is the part after the last slash."""
    named = [(member, member.filename.replace("\\", "/")) for member in archive.infolist() if not member.is_dir()]
    members = [
        member
        for member, name in named
        if not name.rpartition("/")[2].startswith(".") and name.rpartition("/")[2] and "__MACOSX/" not in name
    ]
    return sorted(members, key=lambda member: member.filename)


def _zip_frames(path: str, plane: PlaneChoice) -> int:
    """Count the frames of a single image, or the files of a series."""
    with stage(path, "open"), zipfile.ZipFile(path) as archive:
        members = _members(archive)
        dicom = 0
        for member in members if len(members) > 1 else ():
            with archive.open(member) as stream:
                dicom += _kind_of(stream.read(_HEAD_BYTES), member.filename, member.file_size) == "dicom"
    if dicom > 1:
        return dicom
    with TemporaryDirectory(prefix="radimagenet-") as folder:
        kinds = _image_kinds(_unpacked(path, folder))
        return count_frames(next(iter(kinds)), plane) if len(kinds) == 1 else max(1, len(kinds))


def _dicom_frames(path: str, plane: PlaneChoice) -> int:
    if plane not in ("acquired", "stored"):
        return len(read_image(path, plane))
    return header_facts(path).frames


def _flat(read: Callable[[str], NativeImage]) -> Callable[[str, PlaneChoice], NativeImage]:
    """A reader of files that do not state their position in the patient: the named plane is accepted as given."""

    def read_in_plane(path: str, plane: PlaneChoice) -> NativeImage:
        image = read(path)
        return image if plane == "acquired" or plane == "stored" else replace(image, plane=plane)

    return read_in_plane


_READERS: dict[str, Callable[[str, PlaneChoice], NativeImage]] = {
    "dicom": read_dicom_file,
    "nifti": read_nifti,
    "pair": read_pair,
    "nrrd": read_nrrd,
    "metaimage": read_metaimage,
    "mgh": read_mgh,
    "picture": _flat(read_picture),
    "npy": _flat(read_array),
    "zip": _read_zip,
}
VOLUME_LAYOUTS: dict[str, Callable[[str, PlaneChoice], tuple[Plane | None, int, int]]] = {
    "nifti": volume_layout,
    "pair": pair_layout,
    "nrrd": volume_layout,
    "metaimage": metaimage_layout,
    "mgh": mgh_layout,
}
"""By kind of file: plane, slices a volume and volumes, from its header alone."""


def _volume_frames(kind: str) -> Callable[[str, PlaneChoice], int]:
    def count(path: str, plane: PlaneChoice) -> int:
        _, slices, volumes = VOLUME_LAYOUTS[kind](path, plane)
        return max(1, slices * volumes)

    return count


_COUNTERS: dict[str, Callable[[str, PlaneChoice], int]] = {
    "dicom": _dicom_frames,
    **{kind: _volume_frames(kind) for kind in VOLUME_LAYOUTS},
    "picture": lambda path, _: picture_pages(path),
    "npy": lambda path, _: array_slices(path),
    "zip": _zip_frames,
}
