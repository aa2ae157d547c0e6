"""The header of a derived object."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.sr.codedict import codes

from frerec.io.dicom.derivation import derivation_item, derive, equipment_items, is_marked_synthetic, suffixed
from frerec.io.provenance import Generator, Provenance

pytestmark = pytest.mark.usefixtures("strict_values")

RUN = Provenance(
    "a/x.dcm", "a" * 64, {"mask_ratio": 0.25, "top_k": 200, "strength": 0.3, "seed": 7}, {"drawn": 4}, "b" * 64
)
# What a derived object shares with its source, besides everything that is not named in this file.
KEPT = ("PatientName", "PatientID", "StudyInstanceUID", "StudyDate", "FrameOfReferenceUID", "Modality", "Manufacturer")


@pytest.fixture
def header(tmp_path: Path, make_dicom: Callable[..., Path]) -> Dataset:
    path = make_dicom(tmp_path / "x.dcm", np.zeros((4, 5), np.int16), SOPInstanceUID="1.2.3.4")
    return pydicom.dcmread(path, stop_before_pixels=True)


def derived(header: Dataset, provenance: Provenance = RUN) -> tuple[Dataset, list[str]]:
    # By its JSON form: pydicom 2.4 cannot copy sequences that it has been given.
    result, warnings = Dataset.from_json(header.to_json()), []
    derive(result, provenance, position=5, warnings=warnings)
    return result, warnings


def code(item: Dataset) -> tuple[str, str, str]:
    return item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning


def purpose(item: Dataset) -> tuple[str, str, str]:
    return code(item.PurposeOfReferenceCodeSequence[0])


def test_codes_are_those_of_the_terminology_as_far_as_this_pydicom_knows_it(header: Dataset) -> None:
    made, known = Provenance("x", "a" * 64, synthetic=True), dir(codes.DCM)
    new, _ = derived(header, made)
    (source,), (general, _) = new.SourceImageSequence, new.DerivationCodeSequence
    found = [code(general), purpose(source), *(purpose(item) for item in new.ContributingEquipmentSequence)]
    names = (
        "ImageProcessing",
        "SourceImageForImageProcessingOperation",
        "SynthesizingEquipment",
        "ProcessingEquipment",
    )
    assert set(names) - {"SynthesizingEquipment"} <= set(known)
    for name, written in zip(names, found, strict=True):
        if name in known:
            listed = getattr(codes.DCM, name)
            assert written == (listed.value, listed.scheme_designator, listed.meaning)


def test_identity_is_new_and_the_rest_is_kept(header: Dataset) -> None:
    new, warnings = derived(header)
    for keyword in KEPT:
        assert new[keyword] == header[keyword]
    for keyword in ("SOPInstanceUID", "SeriesInstanceUID"):
        assert new[keyword].value != header[keyword].value and new[keyword].value.startswith("2.25.")
    assert (new.SeriesNumber, new.InstanceNumber) == (1007, 3)
    assert list(new.ImageType) == ["DERIVED", "SECONDARY", "AXIAL"]
    assert new.SeriesDescription == "Thorax [FreRec]"
    assert new.ContentQualification == "RESEARCH"
    assert warnings == []


def test_the_source_is_referenced(header: Dataset) -> None:
    (item,) = derived(header)[0].SourceImageSequence
    assert (item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID) == (header.SOPClassUID, "1.2.3.4")
    assert item.SpatialLocationsPreserved == "YES"
    assert purpose(item) == ("121322", "DCM", "Source image for image processing operation")


def test_the_derivation_names_every_setting(header: Dataset) -> None:
    new, _ = derived(header)
    for word in ("FreRec", "mask_ratio=0.25", "top_k=200", "strength=0.3", "seed=7", f"weights_sha256={'b' * 64}"):
        assert word in new.DerivationDescription
    general, own = (code(item) for item in new.DerivationCodeSequence)
    assert general == ("110001", "DCM", "Image Processing")
    assert own[:2] == ("FREQ_RECALIB", "99FREREC")


def test_equipment_is_named(header: Dataset) -> None:
    (own,) = derived(header)[0].ContributingEquipmentSequence
    assert purpose(own) == ("109102", "DCM", "Processing Equipment")
    assert own.ManufacturerModelName == "FreRec" and "ContributionDateTime" not in own
    made = Provenance("x", "a" * 64, synthetic=True, generator=Generator("ACME", "GAN", "3"))
    new, _ = derived(header, made)
    generator, own = new.ContributingEquipmentSequence
    assert purpose(generator) == ("109100", "DCM", "Synthesizing Equipment")
    assert (generator.Manufacturer, generator.ManufacturerModelName, generator.SoftwareVersions) == ("ACME", "GAN", "3")
    assert is_marked_synthetic(new) and new.SeriesDescription == "Thorax [FreRec synthetic]"


def test_a_generator_that_the_source_names_is_not_named_twice(header: Dataset) -> None:
    unnamed = Provenance("x", "a" * 64, synthetic=True)
    assert equipment_items(unnamed)[0].Manufacturer == "unknown"
    header.ContributingEquipmentSequence = Sequence(
        equipment_items(Provenance("x", "a" * 64, synthetic=True, generator=Generator("ACME", "GAN", "3")))[:1]
    )
    new, _ = derived(header, unnamed)
    assert [item.Manufacturer for item in new.ContributingEquipmentSequence] == ["ACME", "FreRec project"]


@pytest.mark.parametrize("value", ["NO", "", None])
def test_a_real_image_is_not_marked_synthetic(header: Dataset, value: str | None) -> None:
    if value is not None:
        header.add_new(0x0008001C, "CS", value)
    new, _ = derived(header)
    assert not is_marked_synthetic(new)
    assert (0x0008001C in new) is (value is not None)


def test_uids_depend_on_input_weights_and_settings_alone(header: Dataset) -> None:
    def uids(provenance: Provenance, instance: str = "1.2.3.4") -> tuple[str, str]:
        own = Dataset.from_json(header.to_json())
        own.SOPInstanceUID = instance
        new, _ = derived(own, provenance)
        return new.SeriesInstanceUID, new.SOPInstanceUID

    series, instance = uids(RUN)
    assert uids(Provenance("b/y.dcm", "c" * 64, RUN.settings, RUN.sample, RUN.weights_sha256)) == (series, instance)
    other_image = uids(RUN, "1.2.3.5")
    assert other_image[0] == series and other_image[1] != instance
    for other in (
        Provenance("a/x.dcm", "a" * 64, {**RUN.settings, "strength": 0.4}, RUN.sample, RUN.weights_sha256),
        Provenance("a/x.dcm", "a" * 64, RUN.settings, RUN.sample, "d" * 64),
    ):
        assert uids(other)[0] != series and uids(other)[1] != instance


def test_an_object_without_identity_gets_one(header: Dataset) -> None:
    uids = ("SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID")
    keywords = (*uids, "SeriesNumber", "InstanceNumber", "PatientID")
    for keyword in (*keywords, "ImageType", "SeriesDescription"):
        delattr(header, keyword)
    new, warnings = derived(header)
    again, _ = derived(header)
    for keyword in keywords:
        assert keyword in new and new[keyword] == again[keyword]
    assert (new.SeriesNumber, new.InstanceNumber, new.SeriesDescription) == (1000, 5, "[FreRec]")
    assert list(new.ImageType) == ["DERIVED", "SECONDARY"]
    assert "SourceImageSequence" not in new and len(warnings) == 3


def test_earlier_history_is_kept(header: Dataset) -> None:
    once, _ = derived(header)
    twice, _ = derived(once)
    assert twice.DerivationDescription.count("frequency recalibration") == 2
    assert len(twice.ContributingEquipmentSequence) == 2
    references = [item.ReferencedSOPInstanceUID for item in twice.SourceImageSequence]
    assert references == [once.SOPInstanceUID, "1.2.3.4"]
    assert twice.SeriesDescription == "Thorax [FreRec]"
    header.DerivationDescription = "x" * 1000
    assert len(derived(header)[0].DerivationDescription) <= 1024


def test_what_is_true_of_the_source_alone_goes(header: Dataset) -> None:
    header.InstanceCreationDate, header.SOPInstanceStatus, header.InstanceCreatorUID = "20200101", "AO", "1.2"
    header.IconImageSequence = Sequence([Dataset()])
    header.DigitalSignaturesSequence = Sequence([Dataset()])
    header.BurnedInAnnotation, header.WindowCenter, header.PixelPaddingValue = "YES", 40, -2000
    header.private_block(0x0011, "MAKER", create=True).add_new(1, "LO", "kept")
    new, _ = derived(header)
    for keyword in (
        "InstanceCreationDate",
        "SOPInstanceStatus",
        "InstanceCreatorUID",
        "IconImageSequence",
        "DigitalSignaturesSequence",
    ):
        assert keyword not in new
    assert (new.BurnedInAnnotation, new.WindowCenter, new.PixelPaddingValue) == ("YES", 40, -2000)
    assert new.private_block(0x0011, "MAKER")[1].value == "kept"


@given(st.text(max_size=90), st.booleans())
def test_descriptions_fit_and_say_what_they_are(description: str, synthetic: bool) -> None:
    result = suffixed(description, synthetic=synthetic)
    assert len(result) <= 64 or result == description.strip()
    assert result.endswith("[FreRec synthetic]" if synthetic else "[FreRec]")
    assert suffixed(result, synthetic=synthetic) == result


def test_long_settings_are_cut_to_what_dicom_holds(header: Dataset) -> None:
    long = Provenance("x", "a" * 64, {"note": "n" * 900}, {"profile": [0.5] * 200}, "b" * 64)
    assert len(derivation_item(long).DerivationDescription) <= 1024
    assert len(equipment_items(long)[-1].ContributionDescription) <= 1024


STORAGE = "1.2.840.10008.5.1.4.1.1."


@pytest.mark.parametrize(
    ("kind", "source", "expected"),
    [
        ("2", ["ORIGINAL", "PRIMARY", "AXIAL"], ["DERIVED", "SECONDARY", "AXIAL"]),
        ("1.2", ["ORIGINAL", "PRIMARY", ""], ["DERIVED", "SECONDARY", ""]),
        ("77.1.4", ["ORIGINAL", "PRIMARY"], ["DERIVED", "SECONDARY"]),
        ("128", ["ORIGINAL", "PRIMARY"], ["DERIVED", "PRIMARY"]),
        ("128", ["ORIGINAL", "SECONDARY"], ["DERIVED", "PRIMARY"]),
        ("20", ["ORIGINAL", "PRIMARY", "TOMO", "EMISSION"], ["DERIVED", "PRIMARY", "TOMO", "EMISSION"]),
        ("2.1", ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"], ["DERIVED", "PRIMARY", "VOLUME", "NONE"]),
        ("77.1.5.1", ["ORIGINAL", "PRIMARY"], ["DERIVED", "PRIMARY", "RECALIBRATED"]),
        ("77.1.5.2", ["DERIVED", "PRIMARY", "MONTAGE", "COLOR"], ["DERIVED", "PRIMARY", "MONTAGE", "COLOR"]),
    ],
)
def test_image_type_is_one_that_the_kind_of_object_allows(
    header: Dataset, kind: str, source: list[str], expected: list[str]
) -> None:
    header.SOPClassUID, header.ImageType = STORAGE + kind, source
    assert list(derived(header)[0].ImageType) == expected
