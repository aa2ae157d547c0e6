"""DICOM objects derived from DICOM objects: the source's header, new pixels, and the marks of a derived image."""

from __future__ import annotations

import warnings
from io import BytesIO

import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.errors import InvalidDicomError
from pydicom.uid import ExplicitVRLittleEndian

from frerec import __version__
from frerec.errors import InputError
from frerec.imaging.dicom_derivation import derive
from frerec.imaging.dicom_encoding import free_embedded_overlays, put_pixels
from frerec.imaging.provenance import Provenance
from frerec.imaging.stored_pixels import StoredPixels
from frerec.imaging.uids import IMPLEMENTATION_CLASS_UID

# Width in bytes of the value representations that pydicom carries over as bytes without regard to their byte order.
_WORDS = {"OW": 2, "OF": 4, "OL": 4, "OD": 8, "OV": 8}


def derived_dicom(pixels: StoredPixels, provenance: Provenance, *, position: int = 1) -> tuple[bytes, list[str]]:
    """Encode the object derived from a DICOM file.

    Args:
        pixels: new stored values and the path of the source file, whose header is read again.
        provenance: what was done.
        position: 1-based place of the object in its series.

    Returns:
        A complete DICOM file in Explicit VR Little Endian, and warnings.

    Raises:
        InputError: if the source file is no longer readable.
    """
    told: list[str] = []
    with warnings.catch_warnings():
        # pydicom's own warnings quote values of the header, which may name a patient.
        warnings.simplefilter("ignore")
        dataset = read_header(pixels)
        if free_embedded_overlays(dataset):
            told.append("an overlay kept in unused bits of the pixels was moved to Overlay Data")
        put_pixels(dataset, pixels)
        derive(dataset, provenance, position=position, warnings=told)
        return dicom_bytes(dataset), told


def read_header(pixels: StoredPixels) -> FileDataset:
    """Read the source object anew, its words in little endian order.

    Args:
        pixels: names the file.

    Returns:
        The data set, with its pixels as they are in the file.

    Raises:
        InputError: if it cannot be read.
    """
    try:
        dataset = pydicom.dcmread(pixels.path, force=True)
    except (OSError, InvalidDicomError, EOFError) as error:
        reason = "the source file could be read before but cannot be read now"
        raise InputError(pixels.path, reason, "Keep inputs in place while they are processed") from error
    if getattr(dataset, "file_meta", None) is None:
        dataset.file_meta = FileMetaDataset()
    if dataset.file_meta.get("TransferSyntaxUID") == "1.2.840.10008.1.2.2":
        _swap_words(dataset)
    return dataset


def dicom_bytes(dataset: Dataset) -> bytes:
    """Encode a data set as a DICOM file (PS3.10) in Explicit VR Little Endian.

    Args:
        dataset: a composite object with native pixels in little endian order.

    Returns:
        The file.
    """
    for tag in [tag for tag in dataset if tag.tag.group in (0x0000, 0x0002)]:
        del dataset[tag.tag]
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = IMPLEMENTATION_CLASS_UID
    meta.ImplementationVersionName = f"FREREC_{__version__}"[:16]
    buffer = BytesIO()
    file = FileDataset(buffer, dataset, file_meta=meta, preamble=b"\0" * 128)
    if int(pydicom.__version__.split(".")[0]) >= 3:
        pydicom.dcmwrite(buffer, file, implicit_vr=False, little_endian=True, enforce_file_format=True)
    else:
        file.is_implicit_VR, file.is_little_endian = False, True
        pydicom.dcmwrite(buffer, file, write_like_original=False)
    return buffer.getvalue()


def _swap_words(dataset: Dataset) -> None:
    # pydicom turns numbers round when it changes the byte order, but not strings of words (lookup tables, overlays).
    # Pixels are left: their new values replace them, and what reads the old ones knows their order.
    for element in dataset:
        if element.VR == "SQ":
            for item in element.value:
                _swap_words(item)
        elif element.VR in _WORDS and element.tag.group != 0x7FE0 and element.value:
            width = _WORDS[element.VR]
            element.value = np.frombuffer(element.value, f">u{width}").astype(f"<u{width}").tobytes()
