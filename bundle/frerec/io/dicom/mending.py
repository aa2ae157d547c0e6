"""Elements that pydicom can read but not write, brought into a form that can be written."""

from __future__ import annotations

from contextlib import suppress

from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.filewriter import correct_ambiguous_vr_element
from pydicom.tag import BaseTag
from pydicom.values import convert_numbers

_DELIMITER_GROUP = 0xFFFE


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
