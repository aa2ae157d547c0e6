"""One call for the decoders of pydicom 2.4 and of pydicom 3, whose interfaces differ."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy.typing as npt
from pydicom.dataset import Dataset
from pydicom.uid import UID

from frerec.errors import InputError

try:
    from pydicom.pixels.decoders.base import get_decoder
except ImportError:  # pydicom 2.4
    get_decoder = None  # type: ignore[assignment]

_INSTALL = "Install the decoder packages that frerec depends on, or decompress the file with another tool"


def decode(path: Path, dataset: Dataset) -> tuple[npt.NDArray[Any], str]:
    """Decode all frames without changing their colour space.

    Args:
        path: named in errors.
        dataset: with file meta information and pixel data.

    Returns:
        The array in pydicom's layout, samples last, and the photometric interpretation it has.

    Raises:
        InputError: the transfer syntax has no decoder, or the data is truncated or damaged.
    """
    syntax = UID(str(dataset.file_meta.TransferSyntaxUID))
    try:
        if get_decoder is None:
            return _decode_with_handlers(dataset)
        try:
            decoder = get_decoder(syntax)
        except NotImplementedError:
            raise InputError(path, f"transfer syntax {_name(syntax)} is not supported", _INSTALL) from None
        if not decoder.is_available:
            raise InputError(path, f"no decoder for {_name(syntax)} is installed", _INSTALL)
        array, properties = decoder.as_array(dataset, raw=True)
        return array, str(properties["photometric_interpretation"])
    except InputError:
        raise
    except NotImplementedError as error:
        raise InputError(path, f"transfer syntax {_name(syntax)} is not supported", _INSTALL) from error
    except Exception as error:  # plugins raise what they like on damaged data
        reason = f"its pixel data ({_name(syntax)}) is truncated, damaged or of an unsupported kind"
        raise InputError(path, reason, "Fetch it again, or decompress it with another tool") from error


def _decode_with_handlers(dataset: Dataset) -> tuple[npt.NDArray[Any], str]:
    array = dataset.pixel_array
    return array, str(dataset.PhotometricInterpretation)


def _name(syntax: UID) -> str:
    return syntax.name if syntax.name != syntax else re.sub(r"[^0-9.]", "?", str(syntax))[:64]
