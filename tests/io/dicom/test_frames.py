"""The derivation of enhanced multi-frame objects, in their functional groups."""

from __future__ import annotations

from copy import deepcopy

import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from frerec.io.dicom.derivation import derive
from frerec.io.provenance import Provenance

pytestmark = pytest.mark.usefixtures("strict_values")

RUN = Provenance("x.dcm", "a" * 64, {"strength": 0.3}, {}, "b" * 64)


@pytest.fixture
def header() -> Dataset:
    dataset = Dataset()
    dataset.SOPClassUID, dataset.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.4.1", "1.2.3"
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = "1.2.4", "1.2.5"
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "M", "NONE"]
    dataset.InstanceNumber = 1
    groups = []
    for _ in range(3):
        frame_type, group = Dataset(), Dataset()
        frame_type.FrameType = ["ORIGINAL", "PRIMARY", "M", "NONE"]
        group.MRImageFrameTypeSequence = Sequence([frame_type])
        groups.append(group)
    dataset.SharedFunctionalGroupsSequence = Sequence([Dataset()])
    dataset.PerFrameFunctionalGroupsSequence = Sequence(groups)
    return dataset


def test_one_step_for_all_frames_is_shared(header: Dataset) -> None:
    derive(header, RUN, position=1, warnings=[])
    # PS3.3 C.8.16.1.2: the second value of an enhanced object is PRIMARY, also when it is derived
    assert list(header.ImageType) == ["DERIVED", "PRIMARY", "M", "NONE"]
    for group in header.PerFrameFunctionalGroupsSequence:
        assert list(group.MRImageFrameTypeSequence[0].FrameType) == ["DERIVED", "PRIMARY", "M", "NONE"]
    (step,) = header.SharedFunctionalGroupsSequence[0].DerivationImageSequence
    assert "strength=0.3" in step.DerivationDescription
    assert step.SourceImageSequence[0].ReferencedSOPInstanceUID == "1.2.3"
    assert "SourceImageSequence" not in header and "DerivationDescription" not in header


def test_frames_with_a_history_of_their_own_get_their_own_step(header: Dataset) -> None:
    earlier = Dataset()
    earlier.DerivationDescription = "averaged"
    for group in header.PerFrameFunctionalGroupsSequence:
        group.DerivationImageSequence = Sequence([deepcopy(earlier)])
    derive(header, RUN, position=1, warnings=[])
    for number, group in enumerate(header.PerFrameFunctionalGroupsSequence, start=1):
        first, step = group.DerivationImageSequence
        assert first.DerivationDescription == "averaged"
        assert step.SourceImageSequence[0].ReferencedFrameNumber == number
    assert "DerivationImageSequence" not in header.SharedFunctionalGroupsSequence[0]


def test_the_source_is_listed_by_series_once(header: Dataset) -> None:
    derive(header, RUN, position=1, warnings=[])
    (series,) = header.ReferencedSeriesSequence
    assert series.SeriesInstanceUID == "1.2.5"
    assert [item.ReferencedSOPInstanceUID for item in series.ReferencedInstanceSequence] == ["1.2.3"]


def test_the_source_is_listed_as_evidence_by_study_and_series(header: Dataset) -> None:
    earlier, series, instance = Dataset(), Dataset(), Dataset()
    instance.ReferencedSOPClassUID, instance.ReferencedSOPInstanceUID = "1.2.840.10008.5.1.4.1.1.4", "1.2.9"
    series.SeriesInstanceUID, series.ReferencedSOPSequence = "1.2.8", Sequence([instance])
    earlier.StudyInstanceUID, earlier.ReferencedSeriesSequence = "1.2.4", Sequence([series])
    header.SourceImageEvidenceSequence = Sequence([earlier])
    derive(header, RUN, position=1, warnings=[])
    (study,) = header.SourceImageEvidenceSequence
    assert study.StudyInstanceUID == "1.2.4"
    found = {
        item.SeriesInstanceUID: [one.ReferencedSOPInstanceUID for one in item.ReferencedSOPSequence]
        for item in study.ReferencedSeriesSequence
    }
    assert found == {"1.2.8": ["1.2.9"], "1.2.5": ["1.2.3"]}


@pytest.mark.parametrize("kind", ["30", "14.1", "13.1.3", "6.2"])
def test_other_objects_have_no_place_for_evidence(header: Dataset, kind: str) -> None:
    header.SOPClassUID = f"1.2.840.10008.5.1.4.1.1.{kind}"
    derive(header, RUN, position=1, warnings=[])
    assert "SourceImageEvidenceSequence" not in header and "ReferencedSeriesSequence" in header
    # Enhanced ultrasound names its source in a module of its own as well.
    assert ("SourceImageSequence" in header) is (kind == "6.2")


@pytest.mark.parametrize("keyword", ["SOPInstanceUID", "SeriesInstanceUID"])
def test_a_source_without_a_place_is_referred_to_nowhere(header: Dataset, keyword: str) -> None:
    setattr(header, keyword, "")
    warnings: list[str] = []
    derive(header, RUN, position=1, warnings=warnings)
    assert "SourceImageEvidenceSequence" not in header and "ReferencedSeriesSequence" not in header
    assert any("referenced by checksum only" in line for line in warnings)


def test_a_source_that_cannot_be_referenced_is_left_out(header: Dataset) -> None:
    header.SOPInstanceUID = ""
    derive(header, RUN, position=1, warnings=[])
    (step,) = header.SharedFunctionalGroupsSequence[0].DerivationImageSequence
    assert len(step.SourceImageSequence) == 0 and "ReferencedSeriesSequence" not in header
