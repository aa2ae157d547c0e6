"""DICOM objects made for tests: single images with chosen encoding, series, and enhanced multi-frame volumes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import UID, ExplicitVRLittleEndian, generate_uid

CT, MR, ENHANCED_MR, SC = (f"1.2.840.10008.5.1.4.1.1.{tail}" for tail in ("2", "4", "4.1", "7"))
AXIAL = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0]


def dicom_object(
    stored: np.ndarray, *, photometric: str = "MONOCHROME2", bits: int = 0, **attributes: Any
) -> FileDataset:
    """An uncompressed object: ([frames,] rows, columns[, 3]) integers, and any attributes by keyword."""
    colour = stored.shape[-1] == 3 and photometric not in ("MONOCHROME1", "MONOCHROME2", "PALETTE COLOR")
    frames = stored.ndim - colour - 2
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = UID(attributes.pop("SOPClassUID", SC))
    meta.MediaStorageSOPInstanceUID = generate_uid()
    dataset = FileDataset("made", {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.SOPClassUID, dataset.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    dataset.StudyInstanceUID = dataset.SeriesInstanceUID = generate_uid(entropy_srcs=["one series"])
    dataset.Modality = attributes.pop("Modality", "OT")
    dataset.Rows, dataset.Columns = stored.shape[frames : frames + 2]
    if frames:
        dataset.NumberOfFrames = len(stored)
    dataset.SamplesPerPixel = 3 if colour else 1
    if colour:
        dataset.PlanarConfiguration = 0
    dataset.PhotometricInterpretation = photometric
    dataset.BitsAllocated = 8 * stored.dtype.itemsize
    dataset.BitsStored = bits or dataset.BitsAllocated
    dataset.HighBit = dataset.BitsStored - 1
    dataset.PixelRepresentation = int(stored.dtype.kind == "i")
    for keyword, value in attributes.items():
        setattr(dataset, keyword, value)
    dataset.PixelData = stored.tobytes() + b"\0" * (stored.nbytes % 2)
    return dataset


def save(dataset: Dataset, path: Path) -> Path:
    """Write it with either generation of pydicom."""
    if pydicom.__version__.startswith("2"):
        dataset.is_little_endian, dataset.is_implicit_VR = True, False
        dataset.save_as(path, write_like_original=False)
    else:
        dataset.save_as(path, enforce_file_format=True)
    return path


def save_series(
    folder: Path, volume: np.ndarray, *, step: tuple[float, float, float] = (0, 0, 3.0), **attributes: Any
) -> Path:
    """A series of axial slices, (slices, rows, columns), named in the reverse of their order."""
    folder.mkdir(exist_ok=True, parents=True)
    photometric = attributes.pop("photometric", "MONOCHROME2")
    for index, stored in enumerate(volume):
        position = [-10.0 + index * step[0], -20.0 + index * step[1], 5.0 + index * step[2]]
        dataset = dicom_object(
            stored,
            photometric=photometric,
            **{
                "SOPClassUID": MR,
                "Modality": "MR",
                "ImageOrientationPatient": AXIAL,
                "ImagePositionPatient": position,
                "PixelSpacing": [0.5, 0.75],
                "InstanceNumber": 7,
                **attributes,
            },
        )
        save(dataset, folder / f"{len(volume) - index:03d}.dcm")
    return folder


def enhanced_object(volume: np.ndarray, heights: list[float], slopes: list[float]) -> FileDataset:
    """An enhanced MR object whose frames lie at the given heights, each with its own rescale slope."""
    shared, frames = Dataset(), []
    measures, orientation = Dataset(), Dataset()
    measures.PixelSpacing, measures.SliceThickness = [0.5, 0.75], 2.0
    orientation.ImageOrientationPatient = AXIAL
    shared.PixelMeasuresSequence, shared.PlaneOrientationSequence = Sequence([measures]), Sequence([orientation])
    for height, slope in zip(heights, slopes, strict=True):
        place, values, group = Dataset(), Dataset(), Dataset()
        place.ImagePositionPatient = [-10.0, -20.0, height]
        values.RescaleSlope, values.RescaleIntercept, values.RescaleType = slope, -5, "US"
        group.PlanePositionSequence = Sequence([place])
        group.PixelValueTransformationSequence = Sequence([values])
        frames.append(group)
    return dicom_object(
        volume,
        bits=12,
        SOPClassUID=ENHANCED_MR,
        Modality="MR",
        SharedFunctionalGroupsSequence=Sequence([shared]),
        PerFrameFunctionalGroupsSequence=Sequence(frames),
    )
