"""The page of supported files says what the loader does with every file of the test data."""

from __future__ import annotations

import pytest

from scripts.survey_files import BEGIN, END, document


@pytest.fixture(scope="module")
def surveyed(shared_data):
    return document(shared_data / "dicom")


def test_the_page_is_what_the_survey_finds(surveyed, bundle_root):
    page = (bundle_root / "docs" / "reference" / "supported_files.md").read_text(encoding="utf-8")
    written = page.partition(BEGIN)[2].partition(END)[0].strip()
    assert written.splitlines() == surveyed.splitlines()


def test_no_voxel_differs_from_an_independent_reading_without_an_explanation(surveyed):
    assert "296 files: 264 read, 32 refused." in surveyed
    assert "differs by" not in surveyed
    assert "another shape" not in surveyed
