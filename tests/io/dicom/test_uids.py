"""Identifiers: legal, repeatable, and different wherever anything differs."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.uid import UID

from frerec.io.dicom.files import is_valid_uid
from frerec.io.dicom.references import IMPLEMENTATION_CLASS_UID, derived_uid

parts = st.lists(st.text(max_size=20), max_size=4)


@given(parts)
@settings(max_examples=50, deadline=None)
def test_legal_under_the_uuid_root_and_repeatable(texts: list[str]) -> None:
    uid = derived_uid("instance", *texts)
    assert uid.is_valid and uid.startswith("2.25.") and len(uid) <= 44
    assert uid == derived_uid("instance", *texts)


@given(parts, parts)
@settings(max_examples=50, deadline=None)
def test_different_arguments_give_different_identifiers(one: list[str], two: list[str]) -> None:
    assert (derived_uid("instance", *one) == derived_uid("instance", *two)) is (one == two)


def test_a_known_identity_stays_what_it_is() -> None:
    # Outputs already in an archive are found again only if this never changes.
    assert derived_uid("instance", "1.2.3", "{}") == "2.25.310965478643822281465852910217971780787"
    assert derived_uid("series", "1.2.3", "{}") != derived_uid("instance", "1.2.3", "{}")
    assert derived_uid("implementation class") == IMPLEMENTATION_CLASS_UID


@pytest.mark.parametrize(
    ("value", "legal"),
    [
        ("1.2.840.10008.1.2", True),
        (UID("2.25.1"), True),
        ("", False),
        (None, False),
        ("999.999.2.19941105", False),
        ("1.02.3", False),
        ("dccc9599087131742838cc1162a630fea87ba9bf61ac09bfda90d4adfa5ddaed", False),
        ("1." * 33 + "1", False),
    ],
)
def test_illegal_identifiers_are_told(value: object, legal: bool) -> None:
    assert is_valid_uid(value) is legal
