"""A real archive takes the written objects and gives them back as they are: Orthanc, over DIMSE, REST and DICOMweb."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from email.parser import BytesParser
from email.policy import HTTP
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from PIL import Image
from pynetdicom import AE

from tests.orthanc import Orthanc

Run = Callable[..., dict[str, Any]]
FILES = ["highdicom/data/test_files/ct_image.dcm", "highdicom/data/test_files/dx_image.dcm"] + [
    f"pydicom-data/data_store/data/{name}"
    for name in ("emri_small_RLE.dcm", "SC_rgb.dcm", "OBXXXX1A.dcm", "JLSL_16_15_1_1F.dcm")
]


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orthanc]:
    found = Orthanc(tmp_path_factory.mktemp("orthanc"), DicomAlwaysAllowStore=True, DicomCheckCalledAet=False)
    try:
        yield found.start()
    finally:
        found.stop()


def send(archive: Orthanc, paths: list[Path]) -> None:
    datasets = [pydicom.dcmread(path) for path in paths]
    client = AE(ae_title="FREREC")
    for sop_class in {dataset.SOPClassUID for dataset in datasets}:
        client.add_requested_context(sop_class, "1.2.840.10008.1.2.1")
    association = client.associate("127.0.0.1", archive.dicom_port, ae_title="ORTHANC")
    assert association.is_established
    try:
        for dataset in datasets:
            assert association.send_c_store(dataset).Status == 0x0000
    finally:
        association.release()


@pytest.fixture(scope="module")
def written(
    shared_data: Path, tmp_path_factory: pytest.TempPathFactory, recalibrate: Run, archive: Orthanc
) -> list[Path]:
    """Outputs of several kinds, one of them a picture as Secondary Capture, stored in the archive."""
    root, out = shared_data / "dicom", tmp_path_factory.mktemp("out")
    saved = [recalibrate(root / name, root, out, change=0.02, synthetic=True)["saved"][0].files[0][0] for name in FILES]
    folder = tmp_path_factory.mktemp("pictures")
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (32, 24), dtype=np.uint8)).save(folder / "p.png")
    capture = recalibrate(folder / "p.png", folder, out, output_format="dicom", synthetic=True)
    saved.append(capture["saved"][0].files[0][0])
    paths = [Path(path) for path in saved]
    send(archive, paths)
    return paths


def same_object(ours: pydicom.Dataset, theirs: pydicom.Dataset) -> None:
    for element in ours:
        assert element.tag in theirs and theirs[element.tag].value == element.value, element.tag
    assert len(ours) == len(theirs)
    assert np.array_equal(ours.pixel_array, theirs.pixel_array)


def test_rest_gives_back_the_same_objects(archive: Orthanc, written: list[Path]) -> None:
    instances = json.loads(archive.get("/instances")[1])
    assert len(instances) == len(written)
    stored = [pydicom.dcmread(io.BytesIO(archive.get(f"/instances/{name}/file")[1])) for name in instances]
    by_uid = {dataset.SOPInstanceUID: dataset for dataset in stored}
    for path in written:
        dataset = pydicom.dcmread(path)
        same_object(dataset, by_uid[dataset.SOPInstanceUID])


def test_dicomweb_gives_back_the_same_objects(archive: Orthanc, written: list[Path]) -> None:
    for path in written:
        dataset = pydicom.dcmread(path)
        place = f"/dicom-web/studies/{dataset.StudyInstanceUID}/series/{dataset.SeriesInstanceUID}"
        kind, body = archive.get(
            f"{place}/instances/{dataset.SOPInstanceUID}", 'multipart/related; type="application/dicom"'
        )
        message = BytesParser(policy=HTTP).parsebytes(b"Content-Type: " + kind.encode() + b"\r\n\r\n" + body)
        (part,) = message.iter_parts()
        same_object(dataset, pydicom.dcmread(io.BytesIO(part.get_payload(decode=True))))
        (found,) = json.loads(archive.get(f"{place}/instances/{dataset.SOPInstanceUID}/metadata")[1])
        assert found["0008001C"]["Value"] == ["YES"]
        assert found["00080008"]["Value"][0] == "DERIVED"


def test_sending_again_adds_nothing(archive: Orthanc, written: list[Path]) -> None:
    before = json.loads(archive.get("/statistics")[1])
    send(archive, written)
    assert json.loads(archive.get("/statistics")[1]) == before
