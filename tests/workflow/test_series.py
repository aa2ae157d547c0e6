from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage, generate_uid

from frerec.workflow.series import group_series


def write_slice(path: Path, series: str, z: float | None, frames: int = 1) -> Path:
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid()
    ds = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    ds.SOPClassUID, ds.SOPInstanceUID = SecondaryCaptureImageStorage, meta.MediaStorageSOPInstanceUID
    ds.SeriesInstanceUID, ds.Modality = series, "CT"
    ds.Rows = ds.Columns = 4
    ds.SamplesPerPixel, ds.PhotometricInterpretation, ds.PixelRepresentation = 1, "MONOCHROME2", 0
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = 8, 8, 7
    if frames > 1:
        ds.NumberOfFrames = frames
    if z is not None:
        ds.ImagePositionPatient, ds.ImageOrientationPatient = [0, 0, z], [1, 0, 0, 0, 1, 0]
    ds.PixelData = np.zeros((frames, 4, 4), np.uint8).tobytes()
    path.parent.mkdir(parents=True, exist_ok=True)
    pydicom.dcmwrite(path, ds, enforce_file_format=True)
    return path


def test_slices_of_a_series_stay_together_and_others_apart(tmp_path: Path) -> None:
    one, two = generate_uid(), generate_uid()
    volume = [write_slice(tmp_path / "ct" / f"{i}.dcm", one, float(i)) for i in range(3)]
    elsewhere = write_slice(tmp_path / "other" / "0.dcm", one, 9.0)
    encodings = [write_slice(tmp_path / "same" / f"{i}", two, 1.0) for i in range(2)]
    radiographs = [write_slice(tmp_path / "cr" / f"{i}", two, None) for i in range(2)]
    frames = [write_slice(tmp_path / "mf" / f"{i}", two, float(i), frames=2) for i in range(2)]
    note = tmp_path / "ct" / "thumbnail.png"
    note.write_bytes(b"\x89PNG\r\n\x1a\n")
    broken = tmp_path / "ct" / "broken.dcm"
    broken.write_bytes(volume[0].read_bytes()[:140])
    files = [*volume, elsewhere, *encodings, *radiographs, *frames, note, broken]
    groups = group_series(files[::-1])
    assert volume in groups
    singles = [group[0] for group in groups if len(group) == 1]
    assert sorted(singles) == sorted([elsewhere, *encodings, *radiographs, *frames, note, broken])


def test_the_real_mr_series_is_one_volume(shared_data: Path) -> None:
    folder = shared_data / "dicom" / "example-dicom-structural"
    groups = group_series([path for path in folder.rglob("*") if path.is_file()])
    assert sum(len(group) == 40 for group in groups) == 1
