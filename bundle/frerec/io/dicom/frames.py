"""The functional groups of enhanced multi-frame objects, where the derivation of each frame is told."""

from __future__ import annotations

from copy import deepcopy

from pydicom.dataset import Dataset
from pydicom.sequence import Sequence


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
