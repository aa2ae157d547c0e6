"""Unique identifiers that the same input and settings always give again, without a registered root."""

from __future__ import annotations

import uuid

from pydicom.uid import UID

# Drawn once for this product. Changing it would give every known output another identity.
_NAMESPACE = uuid.UUID("7951a156-c431-45c3-ac25-06eb9aef99f7")


def derived_uid(role: str, *parts: str) -> UID:
    """A UID determined by its arguments alone.

    A name-based UUID (version 5) written as an integer under the root 2.25, which DICOM PS3.5 B.2 (and ISO/IEC 9834-8)
    leaves to everybody.

    Args:
        role: what is identified, for example ``"series"``; keeps identifiers of different kinds apart.
        parts: everything the identity depends on, for example the input's UID and the settings.

    Returns:
        A valid UID of at most 44 characters.
    """
    # Lengths are part of the name, so ("ab", "c") and ("a", "bc") differ.
    name = "".join(f"{len(part)}:{part}" for part in (role, *parts))
    return UID(f"2.25.{uuid.uuid5(_NAMESPACE, name).int}")


def is_valid_uid(value: object) -> bool:
    """Whether a value is a legal UID (PS3.5 chapter 9): digits and dots, at most 64 characters, a root of ISO or ITU.

    Args:
        value: a UID, text, or None.

    Returns:
        True for a legal UID.
    """
    uid = UID(str(value or ""), validation_mode=0)
    # X.660 has the arcs 0, 1 and 2 and nothing else.
    return uid.is_valid and uid.split(".")[0] in ("0", "1", "2")


#: Identifies this software in the file meta information (PS3.7 D.3.3.2).
IMPLEMENTATION_CLASS_UID = derived_uid("implementation class")
