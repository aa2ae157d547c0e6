"""DICOM objects derived from DICOM objects: the source's header, new pixels, and the marks of a derived image."""

from __future__ import annotations

import warnings
from io import BytesIO

import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.tag import BaseTag
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian

from frerec import __version__
from frerec.errors import InputError
from frerec.io.dicom.derivation import derive
from frerec.io.dicom.encoding import free_embedded_overlays, put_pixels
from frerec.io.dicom.files import read_dataset, refuse_malformed
from frerec.io.dicom.mending import mend
from frerec.io.dicom.uids import IMPLEMENTATION_CLASS_UID, is_valid_uid
from frerec.io.provenance import Provenance
from frerec.io.stored_pixels import StoredPixels

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
        InputError: if the source file is no longer readable, or its header is malformed.
    """
    told: list[str] = []
    path = pixels.path
    if not path.is_file():
        reason = "the source file could be read before but cannot be read now"
        raise InputError(path, reason, "Keep inputs in place while they are processed")
    dataset = read_dataset(path)
    with warnings.catch_warnings(), refuse_malformed(path, dataset):
        # pydicom's own warnings quote values of the header, which may name a patient.
        warnings.simplefilter("ignore")
        told += mend(dataset, signed=dataset.get("PixelRepresentation") == 1)
        if dataset.file_meta.TransferSyntaxUID == ExplicitVRBigEndian:
            _swap_words(dataset)
        if not is_valid_uid(dataset.get("SOPClassUID")) and int(dataset.get("NumberOfFrames") or 1) > 1:
            raise InputError(path, "it has several frames but no valid SOP Class UID", "Repair its header")
        if free_embedded_overlays(dataset):
            told.append("an overlay kept in unused bits of the pixels was moved to Overlay Data")
        put_pixels(dataset, pixels)
        derive(dataset, provenance, position=position, warnings=told)
        return dicom_bytes(dataset), told


def dicom_bytes(dataset: Dataset) -> bytes:
    """Encode a data set as a DICOM file (PS3.10) in Explicit VR Little Endian.

    Args:
        dataset: a composite object with native pixels in little endian order.

    Returns:
        The file.
    """
    for tag in [tag for tag in map(BaseTag, dataset.keys()) if tag.group in (0x0000, 0x0002)]:
        del dataset[tag]
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
