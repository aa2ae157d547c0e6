"""Names of outputs come from the path of the input and stay below the output folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from frerec.errors import ConfigError, InputError
from frerec.io.naming import output_kind, output_path, sidecar_path
from frerec.io.ranges import Ranges
from frerec.io.records import Source


def source(relative: str, kind: str = "png", path: str = "/data/in/x") -> Source:
    ranges = Ranges(Path(path), np.arange(4, dtype=np.float32).reshape(1, 2, 2))
    return Source(path, relative, "0" * 64, kind, (), (1, 2, 2), "|u1", ranges, None, (1.0, 1.0))


@pytest.mark.parametrize("relative", ["../x.png", "a/../../x.png", "/etc/x.png", "", "a/b/../../../x"])
def test_paths_that_lead_out_are_refused(tmp_path: Path, relative: str) -> None:
    with pytest.raises(InputError, match="out of the output folder"):
        output_path(source(relative), "/data/in/x", tmp_path)


@given(st.text(min_size=1, max_size=40).filter(lambda text: "\0" not in text))
@settings(max_examples=150, deadline=None)
def test_no_name_whatever_leads_out(relative: str) -> None:
    root = Path("/nonexistent/out")
    try:
        target = output_path(source(relative), "/data/in/x", root)
    except InputError:
        return
    assert target.is_relative_to(root) and target != root


def test_a_link_in_the_output_folder_is_not_followed_out(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InputError, match="a link in the output folder"):
        output_path(source("a/x.png"), "/data/in/x", tmp_path / "out")


def test_an_output_that_is_an_input_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    path.write_bytes(b"1")
    with pytest.raises(InputError, match="would overwrite it"):
        output_path(source("x.png"), path, tmp_path)


def test_series_files_keep_their_names_below_the_series_folder(tmp_path: Path) -> None:
    series = source("patient/series", "dicom-series", str(tmp_path / "in/patient/series"))
    target = output_path(series, tmp_path / "in/patient/series/IM0007", tmp_path / "out")
    assert target == tmp_path / "out/patient/series/IM0007"


def test_changed_endings_never_collide(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for name in ("a.jpg", "a.bmp", "b.jpg", "b.txt", "c.jpg"):
        (tmp_path / "in" / name).touch()

    def name(file: str, kind: str, output_format: str = "same") -> str:
        return output_path(source(file, kind), tmp_path / "in" / file, tmp_path / "out", output_format).name

    assert (name("a.jpg", "jpeg"), name("a.bmp", "bmp"), name("c.jpg", "jpeg")) == ("a.jpg.png", "a.bmp.png", "c.png")
    assert (name("c.jpg", "jpeg", "dicom"), name("a.jpg", "jpeg", "dicom")) == ("c.dcm", "a.jpg.dcm")
    assert name("scan", "dicom") == "scan"


def test_formats() -> None:
    assert output_kind(source("a", "jpeg")) == "png"
    assert output_kind(source("a", "tiff"), "dicom") == "capture"
    assert output_kind(source("a", "dicom"), "dicom") == "dicom"
    with pytest.raises(ConfigError, match="NIfTI"):
        output_kind(source("a", "nifti"), "dicom")
    with pytest.raises(ConfigError, match="output_format='gif'"):
        output_kind(source("a"), "gif")


def test_sidecars_of_different_files_differ() -> None:
    assert sidecar_path(Path("o/a.png")) == Path("o/a.png.json")
    assert sidecar_path(Path("o/a.nii.gz")) == Path("o/a.nii.gz.json")
