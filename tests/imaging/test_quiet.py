from __future__ import annotations

import logging
import warnings

import pytest

from frerec.imaging.quiet import quiet_libraries


def test_nothing_is_heard_inside_and_everything_outside(caplog: pytest.LogCaptureFixture) -> None:
    logger = logging.getLogger("pydicom")
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        with quiet_libraries():
            warnings.warn("Doe^Jane", UserWarning, stacklevel=1)
            logger.warning("Doe^Jane")
        assert heard == []
        assert caplog.records == []
        logger.warning("after")
    assert [record.message for record in caplog.records] == ["after"]
