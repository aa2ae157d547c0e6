"""What inputs say of themselves."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from frerec.io.loader import LoadMedicalImage
from frerec.io.origin import declared_origin, was_written_by_us
from frerec.io.picture.writer import png_bytes
from frerec.io.provenance import Generator
from frerec.io.records import Source

Run = Callable[..., dict[str, Any]]
VALUES = np.arange(64, dtype=np.uint8).reshape(8, 8)


def source_of(path: Path) -> Source:
    return LoadMedicalImage()(path).meta["frerec"]["source"]


def test_a_picture_with_our_text_declares_its_origin(tmp_path: Path) -> None:
    generator = {"manufacturer": "ACME", "model": "GAN", "version": "1"}
    (tmp_path / "s.png").write_bytes(png_bytes(VALUES, {"synthetic": True, "generator": generator}))
    assert declared_origin(source_of(tmp_path / "s.png")) == (True, Generator("ACME", "GAN", "1"))
    (tmp_path / "r.png").write_bytes(png_bytes(VALUES, {"synthetic": False}))
    assert declared_origin(source_of(tmp_path / "r.png")) == (False, None)


def test_a_sidecar_declares_it_too_and_nonsense_is_ignored(tmp_path: Path) -> None:
    Image.fromarray(VALUES).save(tmp_path / "s.png")
    assert declared_origin(source_of(tmp_path / "s.png")) == (False, None)
    texts = {"{broken": False, "[1]": False, '{"synthetic": "yes"}': False, '{"synthetic": true}': True}
    for text, found in texts.items():
        (tmp_path / "s.png.json").write_text(text)
        assert declared_origin(source_of(tmp_path / "s.png"))[0] is found
    bad = {"synthetic": True, "generator": {"manufacturer": "x" * 99}}
    (tmp_path / "s.png.json").write_text(json.dumps(bad))
    assert declared_origin(source_of(tmp_path / "s.png")) == (True, None)


@pytest.mark.parametrize("name", ["v.nii", "v.nii.gz", "p.png", "p.tif"])
def test_the_mark_survives_a_second_pass(tmp_path: Path, recalibrate: Run, name: str) -> None:
    (tmp_path / "in").mkdir()
    if name.startswith("v"):
        nib.save(nib.Nifti1Image(VALUES.astype(np.int16), np.eye(4)), tmp_path / "in" / name)
    else:
        Image.fromarray(VALUES).save(tmp_path / "in" / name)
    recalibrate(tmp_path / "in" / name, tmp_path / "in", tmp_path / "once", synthetic=True)
    (tmp_path / "once" / f"{name}.json").unlink()
    item = recalibrate(tmp_path / "once" / name, tmp_path / "once", tmp_path / "twice", synthetic=False)
    assert item["saved"][-1].synthetic is True


def test_own_outputs_are_known(tmp_path: Path, make_dicom: Callable[..., Path], recalibrate: Run) -> None:
    make_dicom(tmp_path / "in" / "x.dcm", VALUES.astype(np.int16))
    Image.fromarray(VALUES).save(tmp_path / "in" / "x.png")
    for name in ("x.dcm", "x.png"):
        recalibrate(tmp_path / "in" / name, tmp_path / "in", tmp_path / "out")
        assert was_written_by_us(tmp_path / "out" / name)
        assert not was_written_by_us(tmp_path / "in" / name)
    (tmp_path / "broken.png").write_bytes(b"\x89PNG")
    assert not was_written_by_us(tmp_path / "broken.png")
    (tmp_path / "text.dcm").write_text("no DICOM at all")
    assert not was_written_by_us(tmp_path / "text.dcm")
