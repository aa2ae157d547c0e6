"""The header of a derived DICOM object: what makes it valid, traceable and never mistaken for its source."""

from __future__ import annotations

from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import SecondaryCaptureImageStorage

from frerec.io.dicom.files import is_valid_uid
from frerec.io.dicom.references import (
    derive_frames,
    derived_image_type,
    derived_uid,
    list_evidence,
    lists_evidence,
    lists_instances,
    names_source,
    refer_to_series,
)
from frerec.io.provenance import PURPOSE, SOFTWARE, Generator, Provenance, canonical_json

#: Added to the Series Number, so that viewers list the derived series apart from its source.
SERIES_NUMBER_OFFSET = 1000

# PS3.5 table 6.2-1: LO and ST.
_LONG_STRING, _SHORT_TEXT = 64, 1024
_LARGEST_INTEGER_STRING = 2**31 - 1

# Value and meaning of codes of the DICOM Controlled Terminology (DCM; PS3.16 annex D): no release of pydicom has all.
_SYNTHESIZING = ("109100", "Synthesizing Equipment")
_PROCESSING = ("109102", "Processing Equipment")
_IMAGE_PROCESSING = ("110001", "Image Processing")
_PROCESSED_SOURCE = ("121322", "Source image for image processing operation")

# Patient and study modules of every object (PS3.3 C.7.1.1, C.7.2.1): present, if only empty (type 2).
_MAY_BE_EMPTY = (
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "PatientSex",
    "StudyDate",
    "StudyTime",
    "StudyID",
    "AccessionNumber",
    "ReferringPhysicianName",
)

# True of the source object alone: its making, its authorisation, its signatures, its thumbnail and its encoding.
_NOT_INHERITED = (
    "InstanceCreationDate",
    "InstanceCreationTime",
    "InstanceCreatorUID",
    "InstanceCoercionDateTime",
    "SOPInstanceStatus",
    "SOPAuthorizationDateTime",
    "SOPAuthorizationComment",
    "AuthorizationEquipmentCertificationNumber",
    "MACParametersSequence",
    "DigitalSignaturesSequence",
    "IconImageSequence",
    "PixelDataProviderURL",
    "ConcatenationUID",
    "SOPInstanceUIDOfConcatenationSource",
    "DataSetTrailingPadding",
)


def derive(dataset: Dataset, provenance: Provenance, *, position: int, warnings: list[str]) -> None:
    """Turn the header of a source object into that of the object derived from it, in place.

    Patient, study, frame of reference, geometry, acquisition and private attributes stay as they are.

    Args:
        dataset: header of the source object, without pixels.
        provenance: what was done.
        position: 1-based place of the object in its series; becomes Instance Number where the source has none.
        warnings: gets a line for everything the source lacked.
    """
    source = _source_item(dataset)
    grouped = "SharedFunctionalGroupsSequence" in dataset
    source_series = str(dataset.get("SeriesInstanceUID") or "")
    if lists_instances(dataset) and not is_valid_uid(source_series):
        source = None  # these have to say in which series it is
    if source is None:
        warnings.append("the source lacks a valid UID (class, instance or series); it is referenced by checksum only")
    if not is_valid_uid(dataset.get("SOPClassUID")):
        # No archive stores an object without a class, and this one asks nothing of the equipment.
        dataset.SOPClassUID = SecondaryCaptureImageStorage
        warnings.append("the source has no valid SOP Class UID; it was written as Secondary Capture")
    if dataset.SOPClassUID == SecondaryCaptureImageStorage:
        _complete_capture(dataset)
    for keyword in _NOT_INHERITED:
        if keyword in dataset:
            delattr(dataset, keyword)
    _identify(dataset, provenance, position, warnings)
    dataset.ImageType = derived_image_type(dataset)
    if grouped:
        derive_frames(dataset, derivation_item(provenance), source)
    else:
        _describe(dataset, provenance)
    if not grouped or names_source(dataset):
        _name_source(dataset, source)
    if source is not None and lists_instances(dataset):
        refer_to_series(dataset, source_series, source)
    if source is not None and grouped and lists_evidence(dataset):
        list_evidence(dataset, source_series, source)
    _add_equipment(dataset, provenance)
    mark_status(dataset, synthetic=provenance.synthetic)


def mark_status(dataset: Dataset, *, synthetic: bool) -> None:
    """Say that an object is for research, and that it is synthetic where it is, in place.

    A real image stays real when its high frequencies are recalibrated: Synthetic Data (0008,001C) is left as the
    source has it, so an object marked YES stays so and an unmarked one stays unmarked.

    Args:
        dataset: the derived object.
        synthetic: whether to write YES.
    """
    dataset.ContentQualification = "RESEARCH"
    if synthetic:
        # By number: pydicom knows the keyword only since version 3.
        dataset.add_new(0x0008001C, "CS", "YES")


def is_marked_synthetic(dataset: Dataset) -> bool:
    """Whether an object says of itself that its pixels are synthetic (Synthetic Data (0008,001C) = YES)."""
    value = dataset[0x0008001C].value if 0x0008001C in dataset else ""
    # pydicom 2.4 does not know the attribute and reads it from an implicit VR file as bytes
    text = value.decode("ascii", "replace") if isinstance(value, bytes) else str(value)
    return text.strip(" \0").upper() == "YES"


def is_own_output(dataset: Dataset) -> bool:
    """Whether an object was written by this package, by its Contributing Equipment."""
    equipment = dataset.get("ContributingEquipmentSequence") or []
    return any(str(item.get("ManufacturerModelName", "")) == SOFTWARE for item in equipment)


def equipment_items(provenance: Provenance, *, with_generator: bool = True) -> list[Dataset]:
    """Items for Contributing Equipment Sequence (0018,A001): FreRec, and the generator of a synthetic image.

    No Contribution DateTime is given: equal runs are to give equal files; the time of a run is in its manifest.

    Args:
        provenance: what was done.
        with_generator: False where the object already names its generator.

    Returns:
        One or two items, in the order in which they contributed.
    """
    items = []
    if provenance.synthetic and with_generator:
        generator = provenance.generator or Generator()
        item = _equipment(_SYNTHESIZING, generator.manufacturer, generator.model, generator.version)
        item.ContributionDescription = "Generated the image"
        items.append(item)
    own = _equipment(_PROCESSING, f"{SOFTWARE} project", SOFTWARE, provenance.version)
    whole = provenance.record()
    told = ("source", "settings", "sample", "weights_sha256")
    record = {**{key: whole[key] for key in told}, "source": whole["source"]["sha256"]}
    if len(canonical_json(record)) > _SHORT_TEXT:
        del record["sample"]
    own.ContributionDescription = canonical_json(record)[:_SHORT_TEXT]
    items.append(own)
    return items


def derivation_item(provenance: Provenance) -> Dataset:
    """Derivation Description (0008,2111) and Derivation Code Sequence (0008,9215) of one processing step.

    The context group of derivation codes (CID 7203) may be extended: no code in it fits a change of high
    frequencies, so the general (110001, DCM, "Image Processing") is followed by a local code that is exact.
    """
    item = Dataset()
    item.DerivationDescription = provenance.sentence()[:_SHORT_TEXT]
    own = _code(("FREQ_RECALIB", PURPOSE.capitalize()), "99FREREC")
    item.DerivationCodeSequence = Sequence([_code(_IMAGE_PROCESSING), own])
    return item


def suffixed(description: object, *, synthetic: bool) -> str:
    """A series description that says what the series is, at the end and within 64 characters.

    Args:
        description: the source's Series Description; may be empty or None.
        synthetic: whether to say so.

    Returns:
        The new description. One that already ends so is returned as it is.
    """
    suffix = f"[{SOFTWARE} synthetic]" if synthetic else f"[{SOFTWARE}]"
    text = str(description or "").strip()
    if text.endswith(suffix):
        return text
    return f"{text[: _LONG_STRING - len(suffix) - 1].rstrip()} {suffix}".strip()


def _identify(dataset: Dataset, provenance: Provenance, position: int, warnings: list[str]) -> None:
    # An object without identity gets one from its bytes: it could not be stored in an archive otherwise.
    identity = str(dataset.get("SOPInstanceUID") or provenance.source_sha256)
    if not dataset.get("StudyInstanceUID"):
        dataset.StudyInstanceUID = derived_uid("study", str(dataset.get("SeriesInstanceUID") or identity))
        warnings.append("the source has no Study Instance UID; a new study was made for it")
    series = str(dataset.get("SeriesInstanceUID") or dataset.StudyInstanceUID)
    run = provenance.run_key()
    dataset.SeriesInstanceUID = derived_uid("series", series, run)
    dataset.SOPInstanceUID = derived_uid("instance", identity, run, canonical_json(provenance.sample))
    for keyword in _MAY_BE_EMPTY:
        if keyword not in dataset:
            setattr(dataset, keyword, None)
    number = _integer(dataset.get("SeriesNumber")) or 0
    dataset.SeriesNumber = number + SERIES_NUMBER_OFFSET if number <= _LARGEST_INTEGER_STRING - 1000 else number
    if _integer(dataset.get("InstanceNumber")) is None:
        dataset.InstanceNumber = position
        warnings.append(f"the source has no Instance Number; {position} was given")
    dataset.SeriesDescription = suffixed(dataset.get("SeriesDescription"), synthetic=provenance.synthetic)


def _complete_capture(dataset: Dataset) -> None:
    # WSD: a workstation made this image (PS3.3 C.8.6.1), whatever the source came from.
    if not dataset.get("ConversionType"):
        dataset.ConversionType = "WSD"
    for keyword in ("Laterality", "PatientOrientation"):
        if keyword not in dataset:
            setattr(dataset, keyword, None)


def _describe(dataset: Dataset, provenance: Provenance) -> None:
    item = derivation_item(provenance)
    # Earlier steps of the history stay readable; should it grow too long, its oldest words go first.
    earlier = str(dataset.get("DerivationDescription") or "").strip()
    room = _SHORT_TEXT - len(item.DerivationDescription) - 2
    history = f"{earlier[-room:]}; " if earlier and room > 0 else ""
    dataset.DerivationDescription = history + item.DerivationDescription
    known = list(dataset.get("DerivationCodeSequence") or [])
    dataset.DerivationCodeSequence = Sequence(known + list(item.DerivationCodeSequence))


def _name_source(dataset: Dataset, source: Dataset | None) -> None:
    known = list(dataset.get("SourceImageSequence") or [])
    if source is not None or (names_source(dataset) and not known):
        dataset.SourceImageSequence = Sequence([*([] if source is None else [source]), *known])


def _add_equipment(dataset: Dataset, provenance: Provenance) -> None:
    present = list(dataset.get("ContributingEquipmentSequence") or [])
    named = any(_has_purpose(item, _SYNTHESIZING[0]) for item in present)
    # A generator named by the user is recorded even if the source names one: it may be another step.
    items = equipment_items(provenance, with_generator=provenance.generator is not None or not named)
    dataset.ContributingEquipmentSequence = Sequence(present + items)


def _has_purpose(item: Dataset, value: str) -> bool:
    return any(str(code.get("CodeValue", "")) == value for code in item.get("PurposeOfReferenceCodeSequence") or [])


def _source_item(dataset: Dataset) -> Dataset | None:
    sop_class, sop_instance = dataset.get("SOPClassUID"), dataset.get("SOPInstanceUID")
    if not is_valid_uid(sop_class) or not is_valid_uid(sop_instance):
        return None
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = str(sop_class), str(sop_instance)
    item.SpatialLocationsPreserved = "YES"
    item.PurposeOfReferenceCodeSequence = Sequence([_code(_PROCESSED_SOURCE)])
    return item


def _equipment(purpose: tuple[str, str], manufacturer: str, model: str, version: str) -> Dataset:
    item = Dataset()
    item.PurposeOfReferenceCodeSequence = Sequence([_code(purpose)])
    item.Manufacturer, item.ManufacturerModelName, item.SoftwareVersions = manufacturer, model, version
    return item


def _code(code: tuple[str, str], scheme: str = "DCM") -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = code[0], scheme, code[1]
    return item


def _integer(value: object) -> int | None:
    try:
        return int(str(value).strip())
    except ValueError:
        return None
