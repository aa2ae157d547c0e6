"""DICOM objects derived from DICOM objects: the source's header, new pixels, and the marks of a derived image."""

from __future__ import annotations

import warnings
from contextlib import suppress
from io import BytesIO

import numpy as np
import pydicom
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.filewriter import correct_ambiguous_vr_element
from pydicom.tag import BaseTag
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian
from pydicom.values import convert_numbers

from frerec import __version__
from frerec.errors import InputError
from frerec.io.dicom.derivation import derive
from frerec.io.dicom.encoding import free_embedded_overlays, put_pixels
from frerec.io.dicom.files import is_valid_uid, read_dataset, refuse_malformed
from frerec.io.dicom.references import IMPLEMENTATION_CLASS_UID
from frerec.io.provenance import Provenance
from frerec.io.restoring import EncodedPixels

# Width in bytes of the value representations that pydicom carries over as bytes without regard to their byte order.
_WORDS = {"OW": 2, "OF": 4, "OL": 4, "OD": 8, "OV": 8}
_DELIMITER_GROUP = 0xFFFE


def derived_dicom(pixels: EncodedPixels, provenance: Provenance, *, position: int = 1) -> tuple[bytes, list[str]]:
    """Encode the object derived from a DICOM file.

    Args:
        pixels: the new values, with the source file whose header is taken over.
        provenance: what was done.
        position: 1-based place of the object in its series.

    Returns:
        A complete DICOM file in Explicit VR Little Endian, and warnings.

    Raises:
        InputError: if the source file is no longer readable, or its header is malformed.
    """
    told: list[str] = []
    path = pixels.original.path
    dataset = read_dataset(path, pixels.original.stream())
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


def mend(dataset: Dataset, *, signed: bool = False) -> list[str]:
    """Make every element of a data set writable with explicit value representations, in place.

    - delimiters outside of any sequence are dropped, as other readers do
    - where the dictionary leaves a choice that the header does not settle (curves, retired tables), words are written
      as OW and numbers in the sign of the pixels (PS3.5 annex A.1)
    - a value that its value representation does not allow is kept, byte for byte, as UN (PS3.5 6.2.2)

    Args:
        dataset: the object or an item of it.
        signed: Pixel Representation of the object.

    Returns:
        Warnings, by tag: no value of the header.
    """
    told = []
    little = bool(dataset.is_little_endian) if dataset.is_little_endian is not None else True
    for tag in map(BaseTag, sorted(dataset.keys())):
        if tag.group == _DELIMITER_GROUP:
            del dataset[tag]
            continue
        raw = dataset.get_item(tag)
        try:
            element = _settled(dataset, tag, little, signed)
            if element.VR == "SQ":
                for item in element.value:
                    told += mend(item, signed=signed)
        except Exception:
            content = raw.value if isinstance(raw.value, bytes) else b""
            dataset[tag] = DataElement(tag, "OB", content + b"\0" * (len(content) % 2))
            dataset[tag].VR = "UN"  # only afterwards: pydicom takes a known tag's own representation for UN
            told.append(f"attribute ({tag.group:04X},{tag.element:04X}) is malformed; its bytes were kept unread")
    return told


def _settled(dataset: Dataset, tag: BaseTag, little: bool, signed: bool) -> DataElement:
    element = dataset[tag]
    if len(element.VR) == 2:
        return element
    with suppress(Exception):  # the header may lack what pydicom decides by
        correct_ambiguous_vr_element(element, dataset, little)
    if len(element.VR) == 2:
        return element
    value, kind = element.value, "OW"
    if "OW" not in element.VR:
        kind = "SS" if signed else "US"
        if isinstance(value, bytes):
            value = convert_numbers(value, little, "h" if signed else "H")
    elif isinstance(value, bytes):
        value += b"\0" * (len(value) % 2)
    element = DataElement(tag, kind, value)
    dataset[tag] = element
    return element
