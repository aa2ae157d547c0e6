"""What PS3.3 demands of a derived object by its kind (SOP class), where the kinds differ."""

from __future__ import annotations

from pydicom.dataset import Dataset

_STORAGE = "1.2.840.10008.5.1.4.1.1."

# Image Type value 2 may be SECONDARY by the general rule (C.7.6.1.1.2), to which these kinds add nothing. All others
# allow PRIMARY alone, which no kind forbids: PET (C.8.9.4.1.1), NM (C.8.4.9.1.1), ophthalmic photography
# (C.8.17.2.1.4), whole slides (C.8.12.4.1.1), X-ray 3D (C.8.21.1.1.1), OCT (C.8.17.7.1.1), parametric maps
# (C.8.32.3.1.1), and all that build on C.8.16.1.2 (enhanced CT, MR, PET, XA, ultrasound volumes, IVOCT, photoacoustic).
_MAY_BE_SECONDARY = frozenset(
    _STORAGE + tail
    for tail in (
        "1",  # CR (C.7.6.1.1.2)
        *("1.1", "1.1.1", "1.2", "1.2.1", "1.3", "1.3.1"),  # DX, mammography, intra-oral (C.8.11.3.1.1)
        "2",  # CT (C.8.2.1.1.1)
        "4",  # MR (C.8.3.1.1.1)
        *("3", "3.1", "6", "6.1"),  # ultrasound (C.8.5.6.1.1)
        *("7", "7.1", "7.2", "7.3", "7.4"),  # Secondary Capture
        *("12.1", "12.2", "12.3"),  # XA and XRF (C.8.7.1.1.1)
        *("77.1.1", "77.1.1.1", "77.1.2", "77.1.2.1", "77.1.3", "77.1.4", "77.1.4.1", "77.1.7"),  # visible light
        "481.1",  # RT Image (C.8.8.2.1)
    )
)

# Source Image Evidence Sequence (0008,9154) is "required if the Source Image Sequence is present" in these: enhanced CT
# (C.8.15.2), MR (C.8.13.1), PET (C.8.22.3), XA and XRF (C.8.19.2), with their colour and legacy-converted kinds.
_LISTS_EVIDENCE = frozenset(
    _STORAGE + tail for tail in ("2.1", "2.2", "4.1", "4.3", "4.4", "12.1.1", "12.2.1", "128.1", "130")
)


# Objects with functional groups list what they refer to by series (C.12.2); these do so even without.
_LISTS_INSTANCES = frozenset(_STORAGE + tail for tail in ("14.1", "14.2", "77.1.6"))

# These name the source of a derived image in a module of their own, beside the functional groups some have: enhanced
# ultrasound (C.8.24.3), ophthalmic photography (C.8.17.2), OCT en face (C.8.17.14), eye maps (C.8.17.12, C.8.30.3).
_OPHTHALMIC_PHOTOGRAPHY = frozenset(_STORAGE + f"77.1.5.{tail}" for tail in (1, 2, 5, 6))
_NAMES_SOURCE = _OPHTHALMIC_PHOTOGRAPHY | {_STORAGE + tail for tail in ("6.2", "77.1.5.7", "81.1", "82.1")}


def derived_image_type(dataset: Dataset) -> list[str]:
    """Image Type (0008,0008) of the object derived from one.

    Args:
        dataset: header of the source, with its SOP class.

    Returns:
        DERIVED, then SECONDARY where the kind of object allows it and PRIMARY where it does not, then the further
        values of the source. Derived ophthalmic photographs have to say in value 3 what they are.
    """
    value = dataset.get("ImageType") or []
    known = [value] if isinstance(value, str) else list(value)
    further = known[2:]
    if _kind(dataset) in _OPHTHALMIC_PHOTOGRAPHY and not (further and further[0]):
        further = ["RECALIBRATED", *further[1:]]
    return ["DERIVED", "SECONDARY" if _kind(dataset) in _MAY_BE_SECONDARY else "PRIMARY", *further]


def lists_evidence(dataset: Dataset) -> bool:
    """Whether an object with source images in its functional groups lists them by study and series as well.

    Args:
        dataset: header with its SOP class.
    """
    return _kind(dataset) in _LISTS_EVIDENCE


def lists_instances(dataset: Dataset) -> bool:
    """Whether an object lists the instances it refers to by series, in the Common Instance Reference module.

    Args:
        dataset: header with its SOP class.
    """
    return "SharedFunctionalGroupsSequence" in dataset or _kind(dataset) in _LISTS_INSTANCES


def names_source(dataset: Dataset) -> bool:
    """Whether an object names its source at the top level whether or not it has functional groups.

    Args:
        dataset: header with its SOP class.
    """
    return _kind(dataset) in _NAMES_SOURCE


def _kind(dataset: Dataset) -> str:
    return str(dataset.get("SOPClassUID") or "")
