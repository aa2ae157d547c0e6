"""Damaged DICOM files, made element by element and byte by byte from sound ones."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable
from io import BytesIO

import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileDataset
from pydicom.uid import ExplicitVRBigEndian, ImplicitVRLittleEndian, RLELossless

from tests.io.dicom.objects import AXIAL, CT, dicom_object, enhanced_object

SECRET = "Topsecret"
_LONG = ("OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV")
DELIMITERS = [struct.pack("<HHL", 0xFFFE, element, 0) for element in (0xE00D, 0xE0DD)]
_CONTENTS = (
    b"",
    b"\0",
    b"abc",
    b"-1",
    b"0",
    b"1\\2\\3",
    b"99999999999999999999",
    b"nan",
    b"1e400",
    b"\xff" * 8,
    b"\0" * 6,
    b"\x07\0\x08\0",
    SECRET.encode(),
)


def sound_files(noise: np.random.Generator) -> dict[str, bytes]:
    """One file of every kind that is read and written in its own way."""
    gray = noise.integers(0, 4096, (12, 10)).astype(np.uint16)
    byte = noise.integers(0, 256, (12, 10)).astype(np.uint8)
    ct = dicom_object(
        gray.astype(np.int16),
        SOPClassUID=CT,
        Modality="CT",
        RescaleSlope=1,
        RescaleIntercept=-1024,
        WindowCenter=40,
        WindowWidth=400,
        PixelSpacing=[0.5, 0.5],
        ImageOrientationPatient=AXIAL,
        ImagePositionPatient=[0, 0, 1],
        ImageType=["ORIGINAL", "PRIMARY", "AXIAL"],
        PixelPaddingValue=-2000,
        SmallestImagePixelValue=0,
    )
    palette = dicom_object(byte, photometric="PALETTE COLOR", Modality="US")
    for colour in ("Red", "Green", "Blue"):
        setattr(palette, f"{colour}PaletteColorLookupTableDescriptor", [256, 0, 16])
        setattr(palette, f"{colour}PaletteColorLookupTableData", noise.bytes(512))
    lut = Dataset()
    lut.LUTDescriptor, lut.ModalityLUTType = [256, 0, 16], "US"
    lut.add_new("LUTData", "OW", np.arange(256, dtype="<u2").tobytes())
    tabled = dicom_object(byte, Modality="CR", ModalityLUTSequence=[lut])
    overlaid = dicom_object(gray, bits=12, Modality="DX", Laterality="L")
    for element, kind, value in ((0x10, "US", 12), (0x11, "US", 10), (0x100, "US", 16), (0x102, "US", 13)):
        overlaid.add_new(0x60000000 + element, kind, value)
    volume = enhanced_object(np.stack([gray, gray[::-1], gray[:, ::-1]]), [0.0, 2.0, 4.0], [1.0, 2.0, 3.0])
    kinds = {
        "rescaled": ct,
        "palette": palette,
        "tabled": tabled,
        "overlaid": overlaid,
        "frames": volume,
        "colour": dicom_object(noise.integers(0, 256, (2, 12, 10, 3)).astype(np.uint8), photometric="YBR_FULL"),
    }
    for dataset in kinds.values():
        dataset.PatientName, dataset.PatientID, dataset.InstitutionName = f"{SECRET}^A", SECRET, SECRET
    found = {name: encoded(dataset) for name, dataset in kinds.items()}
    ct.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    found["implicit"] = encoded(ct)
    big = dicom_object(gray.astype(">u2"), bits=12, Modality="CR", RescaleSlope=2, RescaleIntercept=0)
    big.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
    found["big endian"] = encoded(big)
    compressed = pydicom.dcmread(BytesIO(found["overlaid"]))
    compressed.compress(RLELossless)
    found["compressed"] = encoded(compressed)
    return found


def encoded(dataset: FileDataset) -> bytes:
    """A data set as a file, in its transfer syntax."""
    buffer = BytesIO()
    if pydicom.__version__.startswith("2"):
        syntax = dataset.file_meta.TransferSyntaxUID
        dataset.is_little_endian, dataset.is_implicit_VR = syntax.is_little_endian, syntax.is_implicit_VR
        dataset.save_as(buffer, write_like_original=False)
    else:
        pydicom.dcmwrite(buffer, dataset, enforce_file_format=True)
    return buffer.getvalue()


def mutant(data: bytes, chance: random.Random) -> bytes:
    """A file with one to three faults of any kind."""
    for _ in range(chance.randint(1, 3)):
        data = chance.choice(_FAULTS)(data, chance)
    return data


def elements(data: bytes) -> list[tuple[int, int]]:
    """Start and end of each element of the outermost data set, for files in Explicit VR Little Endian."""
    found, at = [], 132
    while at + 12 <= len(data):
        kind = data[at + 4 : at + 6].decode("latin-1")
        wide = kind in _LONG
        length = struct.unpack_from("<L", data, at + 8)[0] if wide else struct.unpack_from("<H", data, at + 6)[0]
        end = at + (12 if wide else 8) + length
        if end > len(data):
            break
        found.append((at, end))
        at = end
    return found


def _flip(data: bytes, chance: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(chance.randint(1, 4) if changed else 0):
        changed[chance.randrange(min(2048, len(changed)))] = chance.randrange(256)
    return bytes(changed)


def _cut(data: bytes, chance: random.Random) -> bytes:
    return data[: chance.randrange(len(data) + 1)]


def _between(data: bytes, chance: random.Random) -> bytes:
    ends = [end for _, end in elements(data)] or [len(data)]
    at = chance.choice(ends)
    return data[:at] + chance.choice([*DELIMITERS, b"\0" * 8, b"garbage!"]) + data[at:]


def _without(data: bytes, chance: random.Random) -> bytes:
    start, end = chance.choice(elements(data) or [(0, 0)])
    return data[:start] + data[end:]


def _other_value(data: bytes, chance: random.Random) -> bytes:
    places = elements(data)
    if not places:
        return data
    start, end = chance.choice(places)
    content, kind = chance.choice(_CONTENTS), data[start + 4 : start + 6]
    if chance.random() < 0.2:
        kind = chance.choice([b"US", b"DS", b"SQ", b"UN", b"ZZ", b"PN", b"FD", b"AT", b"OW"])
    wide = kind.decode("latin-1") in _LONG
    length = struct.pack("<HL", 0, len(content)) if wide else struct.pack("<H", len(content))
    return data[:start] + data[start : start + 4] + kind + length + content + data[end:]


_FAULTS: tuple[Callable[[bytes, random.Random], bytes], ...] = (_flip, _cut, _between, _without, _other_value)
