"""An input file, opened once: its content, and which kind it is, told by its first bytes and never by its name."""

from __future__ import annotations

import gzip
import hashlib
import os
import stat
import zlib
from dataclasses import dataclass, field, replace
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

from frerec.errors import InputError

#: Why a path cannot be taken as a file, and what the user can do: two sentences without a full stop.
Problem = tuple[str, str]

_KINDS = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFDIR: "a folder",
}
_HEAD = 540  # the longest header looked at: NIfTI-2
_PIECE = 1 << 20

_PICTURES = (
    (b"\x89PNG\r\n\x1a\n", "png"),
    (b"\xff\xd8\xff", "jpeg"),
    (b"II*\x00", "tiff"),
    (b"MM\x00*", "tiff"),
    (b"II+\x00", "tiff"),
    (b"MM\x00+", "tiff"),
    (b"BM", "bmp"),
)
_KNOWN_OTHERS = (
    (b"GIF8", "a GIF picture"),
    (b"%PDF", "a PDF document"),
    (b"PK\x03\x04", "a ZIP archive or office document"),
    (b"\x89HDF", "an HDF5 file"),
    (b"NRRD", "an NRRD file"),
    (b"ObjectType", "a MetaImage header"),
    (b"SIMPLE  =", "a FITS file"),
    (b"RIFF", "a WebP picture or RIFF recording"),
    (b"\0\0\0\x0cjP  ", "a JPEG 2000 picture"),
    (b"\0\0\0\1\0\0", "an MGH volume of FreeSurfer"),
    (b"CDF\1", "a MINC or netCDF file"),
)
SUPPORTED = "DICOM, NIfTI (.nii, .nii.gz), PNG, TIFF, JPEG and BMP are read"


@dataclass(frozen=True)
class InputFile(os.PathLike[str]):
    """A file as it was when it was opened; takes the place of its path.

    Args:
        path: absolute; named in errors.
        sha256: hexadecimal checksum.
        kind: as from `detect_format`; empty for a file that is no image.
        data: its bytes; None once they were let go, and for a file that is no image.
        problem: why it is no image.
    """

    path: Path
    sha256: str
    kind: str = ""
    data: bytes | None = field(default=None, repr=False)
    problem: InputError | None = None

    @classmethod
    def read(cls, path: Path) -> InputFile:
        """Open a file, once, and read it. What is no image is read in pieces and not kept.

        Raises:
            InputError: there is no file, or it cannot be read.
        """
        with opened(path) as stream:
            digest, kind, problem = hashlib.sha256(), "", None
            pieces: list[bytes] = []
            while piece := stream.read(_PIECE):
                digest.update(piece)
                if not pieces and problem is None:
                    try:
                        kind = detect_format(path, BytesIO(piece))
                    except InputError as error:
                        problem = error
                if kind:
                    pieces.append(piece)
        if not pieces and problem is None:
            problem = InputError(path, "the file is empty", "Fetch it again from where it came")
        return cls(path, digest.hexdigest(), kind, b"".join(pieces) if kind else None, problem)

    def content(self) -> bytes:
        """The bytes; read anew where they were let go.

        Raises:
            InputError: it is no image, or has changed or gone since it was opened.
        """
        if self.problem is not None:
            raise self.problem
        if self.data is not None:
            return self.data
        try:
            again = InputFile.read(self.path)
        except InputError:
            again = None
        if again is None or again.sha256 != self.sha256 or again.data is None:
            text = "the file has changed or gone since it was loaded"
            raise InputError(self.path, text, "Run it again on a quiet folder")
        return again.data

    def stream(self) -> BytesIO:
        """The bytes as an open file."""
        return BytesIO(self.content())

    def light(self) -> InputFile:
        """The same without its bytes."""
        return replace(self, data=None)

    def __fspath__(self) -> str:
        return str(self.path)


def problem_of(path: Path) -> Problem | None:
    """What keeps a path from being read as a file; None if it is one, or a link to one."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        if path.is_symlink():
            return "a link to nothing", "Fetch what it points to (dvc pull, git annex get), or remove it"
        return "no such file", "Check the path"
    except OSError as error:
        return f"cannot be reached ({error.strerror})", "Check where it leads and the permissions there"
    if stat.S_ISREG(mode):
        return None
    return f"no file but {_KINDS.get(stat.S_IFMT(mode), 'something else')}", "Leave it out, or name image files"


def opened(path: Path) -> BinaryIO:
    """Open a file for reading.

    Raises:
        InputError: there is none, or it cannot be opened.
    """
    problem = problem_of(path)  # opening a named pipe would wait for somebody to write into it
    if problem is not None:
        raise InputError(path, *problem)
    try:
        return path.open("rb")
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise InputError(path, f"cannot be opened ({reason})", "Check the path and its permissions") from error


def detect_format(path: Path, stream: BinaryIO) -> str:
    """Tell the format of a file from its content.

    Args:
        path: named in errors.
        stream: the open file, or its first bytes.

    Returns:
        ``dicom``, ``nifti``, ``png``, ``tiff``, ``jpeg`` or ``bmp``. ``dicom`` is also returned for a file without the
        DICOM prefix that starts with a plausible data element, as files from before 1993 and from some archives do.

    Raises:
        InputError: the file is empty, or is none of these.
    """
    head, packed = _read_head(path, stream)
    if not head:
        raise InputError(path, "the file is empty", "Fetch it again from where it came")
    if _is_nifti(head):
        return "nifti"
    if _is_nifti_pair(head):
        raise InputError(path, "the header of a NIfTI pair (.hdr and .img)", "Convert the pair to one .nii file")
    if packed:
        text = f"a gzip file that holds {_content(head)}: of packed files, only NIfTI is read"
        raise InputError(path, text, "Unpack it (gunzip) and give what comes out")
    if head[128:132] == b"DICM":
        return "dicom"
    if head[:4] in (b"\x5c\1\0\0", b"\0\0\1\x5c"):
        raise InputError(path, "the header of an Analyze 7.5 pair (.hdr and .img)", "Convert the pair to one .nii file")
    for magic, name in _PICTURES:
        if head.startswith(magic):
            return name
    for magic, name in _KNOWN_OTHERS:
        if head.startswith(magic):
            raise InputError(path, f"this is {name}, which is not read", f"Convert it: {SUPPORTED}")
    if head.startswith(b"<?xml") and b"GIFTI" in head:
        raise InputError(path, "a GIFTI surface, not an image", "Leave it out: nothing in it can be recalibrated")
    if b"-attribute" in head[:32]:
        raise InputError(path, "the header of an AFNI pair (.HEAD and .BRIK)", "Convert the pair to one .nii file")
    if _starts_like_dicom(head):
        return "dicom"
    raise InputError(path, "not an image of a kind that is read", f"Leave it out or convert it: {SUPPORTED}")


def _content(head: bytes) -> str:
    if head[128:132] == b"DICM" or _starts_like_dicom(head):
        return "a DICOM file"
    if head[257:262] == b"ustar":
        return "an archive (tar)"
    picture = next((name for magic, name in _PICTURES if head.startswith(magic)), None)
    if picture is not None:
        return f"a {picture.upper()} picture"
    return next((name for magic, name in _KNOWN_OTHERS if head.startswith(magic)), "no NIfTI image")


def _read_head(path: Path, stream: BinaryIO) -> tuple[bytes, bool]:
    """The first bytes of a file, unpacked where it is a gzip file, and whether it is."""
    try:
        head = stream.read(_HEAD)
        if head.startswith(b"\x1f\x8b"):
            stream.seek(0)
            with gzip.GzipFile(fileobj=stream) as packed:
                return packed.read(_HEAD), True
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise InputError(path, "the gzip compression is damaged", "Fetch the file again from where it came") from error
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise InputError(path, f"cannot be opened ({reason})", "Check the path and its permissions") from error
    return head, False


def _is_nifti(head: bytes) -> bool:
    return head[344:347] == b"n+1" or head[4:7] == b"n+2"


def _is_nifti_pair(head: bytes) -> bool:
    return head[344:347] == b"ni1" or head[4:7] == b"ni2"


def _starts_like_dicom(head: bytes) -> bool:
    # Without a prefix the data set starts at byte 0 with a tag of group 0002 or 0008, in either byte order.
    return len(head) > 8 and head[:2] in (b"\x02\x00", b"\x08\x00", b"\x00\x02", b"\x00\x08") and head[3:4] < b"\x40"
