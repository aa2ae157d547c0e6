"""Which kind of file a path is, told by its first bytes and never by its name alone."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path

from frerec.errors import InputError
from frerec.io.listing import problem_of

_HEAD = 540  # the longest header looked at: NIfTI-2

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


def detect_format(path: Path) -> str:
    """Tell the format of a file from its content.

    Args:
        path: an existing file.

    Returns:
        ``dicom``, ``nifti``, ``png``, ``tiff``, ``jpeg`` or ``bmp``. ``dicom`` is also returned for a file without the
        DICOM prefix that starts with a plausible data element, as files from before 1993 and from some archives do.

    Raises:
        InputError: the file cannot be opened, is empty, or is none of these.
    """
    problem = problem_of(path)  # opening a named pipe would wait for somebody to write into it
    if problem is not None:
        raise InputError(path, *problem)
    head, packed = _read_head(path)
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


def _read_head(path: Path) -> tuple[bytes, bool]:
    """The first bytes of a file, unpacked where it is a gzip file, and whether it is."""
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD)
        if head.startswith(b"\x1f\x8b"):
            with gzip.open(path, "rb") as packed:
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
