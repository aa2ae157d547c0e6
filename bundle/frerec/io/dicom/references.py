"""How a derived object is identified and refers to its source, and what PS3.3 demands of it by its kind (SOP class)."""

from __future__ import annotations

import uuid
from copy import deepcopy

from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import UID

# Drawn once for this product. Changing it would give every known output another identity.
_NAMESPACE = uuid.UUID("7951a156-c431-45c3-ac25-06eb9aef99f7")

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


def derived_uid(role: str, *parts: str) -> UID:
    """A UID determined by its arguments alone, without a registered root.

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


#: Identifies this software in the file meta information (PS3.7 D.3.3.2).
IMPLEMENTATION_CLASS_UID = derived_uid("implementation class")


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
    """Whether an object with source images in its functional groups lists them by study and series as well."""
    return _kind(dataset) in _LISTS_EVIDENCE


def lists_instances(dataset: Dataset) -> bool:
    """Whether an object lists the instances it refers to by series, in the Common Instance Reference module."""
    return "SharedFunctionalGroupsSequence" in dataset or _kind(dataset) in _LISTS_INSTANCES


def names_source(dataset: Dataset) -> bool:
    """Whether an object names its source at the top level whether or not it has functional groups."""
    return _kind(dataset) in _NAMES_SOURCE


def _kind(dataset: Dataset) -> str:
    return str(dataset.get("SOPClassUID") or "")


def derive_frames(dataset: Dataset, derivation: Dataset, source: Dataset | None) -> None:
    """Record a processing step of all frames in the functional groups, in place.

    Frame Type becomes DERIVED wherever it is given, and Derivation Image Sequence (0008,9124) gets the step
    (PS3.3 C.7.6.16.2.6): in the shared groups, or frame by frame where the frames already tell their own.

    Args:
        dataset: header of an enhanced object.
        derivation: Derivation Description and Derivation Code Sequence of the step.
        source: item that references the source object; None if it cannot be referenced.
    """
    shared = dataset.SharedFunctionalGroupsSequence
    if not shared:
        shared.append(Dataset())
    per_frame = list(dataset.get("PerFrameFunctionalGroupsSequence") or [])
    for group in (*shared, *per_frame):
        _mark_frame_type(group)
    step = deepcopy(derivation)
    step.SourceImageSequence = Sequence([] if source is None else [source])
    if any("DerivationImageSequence" in group for group in per_frame):
        for number, group in enumerate(per_frame, start=1):
            own = deepcopy(step)
            for item in own.SourceImageSequence:
                item.ReferencedFrameNumber = number
            _append(group, own)
    else:
        _append(shared[0], step)


def refer_to_series(dataset: Dataset, series: str, source: Dataset) -> None:
    """List the source object in the Common Instance Reference module (PS3.3 C.12.2), in place.

    Enhanced objects repeat there, by series, what their functional groups refer to.

    Args:
        dataset: header of an enhanced object, of the same study as its source.
        series: Series Instance UID of the source.
        source: item that references the source object.
    """
    instance = _instance(source)
    item = _entry(dataset, "ReferencedSeriesSequence", "SeriesInstanceUID", series)
    item.ReferencedInstanceSequence = Sequence([*(item.get("ReferencedInstanceSequence") or []), instance])


def list_evidence(dataset: Dataset, series: str, source: Dataset) -> None:
    """List the source object in Source Image Evidence Sequence (0008,9154), by study and series, in place.

    Args:
        dataset: header of an enhanced object, of the same study as its source.
        series: Series Instance UID of the source.
        source: item that references the source object.
    """
    instance = _instance(source)
    study = _entry(dataset, "SourceImageEvidenceSequence", "StudyInstanceUID", str(dataset.StudyInstanceUID))
    within = _entry(study, "ReferencedSeriesSequence", "SeriesInstanceUID", series)
    within.ReferencedSOPSequence = Sequence([*(within.get("ReferencedSOPSequence") or []), instance])


def _instance(source: Dataset) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID = source.ReferencedSOPClassUID
    item.ReferencedSOPInstanceUID = source.ReferencedSOPInstanceUID
    return item


def _entry(holder: Dataset, keyword: str, uid_keyword: str, uid: str) -> Dataset:
    """The item of a sequence that has a UID, appended where there is none."""
    known = list(holder.get(keyword) or [])
    for item in known:
        if item.get(uid_keyword) == uid:
            return item
    item = Dataset()
    setattr(item, uid_keyword, uid)
    setattr(holder, keyword, Sequence([*known, item]))
    return item


def _append(group: Dataset, step: Dataset) -> None:
    group.DerivationImageSequence = Sequence([*(group.get("DerivationImageSequence") or []), step])


def _mark_frame_type(group: Dataset) -> None:
    # Each modality has its own sequence (MR Image Frame Type Sequence, CT Image Frame Type Sequence, ...).
    for element in group:
        if element.VR != "SQ":
            continue
        for item in element.value:
            frame_type = item.get("FrameType")
            if frame_type:
                item.FrameType = ["DERIVED", *list(frame_type)[1:]]
