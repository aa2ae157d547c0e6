"""What a MONAI Label server needs beside the folder run: requests checked, errors answered, arrays laid out its way."""

from __future__ import annotations

import logging
from collections.abc import Callable, Hashable, Mapping
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform, Transform
from monai.utils import optional_import

from frerec.errors import ConfigError, FreRecError
from frerec.io.naming import PICTURES
from frerec.io.records import source_of
from frerec.run.outcome import causes
from frerec.run.preflight.values import check_values

HTTPException, _serves = optional_import("starlette.exceptions", name="HTTPException")
_logger = logging.getLogger(__name__)


def wrong_settings(asked: Mapping[str, Any]) -> list[FreRecError]:
    """What is wrong with the settings of a request.

    Args:
        asked: the ``displayable_configs`` of ``inference.json``, into which MONAI Label writes whatever a client sends.
    """
    problems = check_values((), {key: value for key, value in asked.items() if not key.startswith("result_")})
    try:
        good = np.dtype(asked.get("result_dtype") or "float32").kind in "iuf"
    except TypeError:
        good = False
    if not good:
        remedy = "Use float32, or the type of the input such as uint8 or int16"
        problems.append(ConfigError("result_dtype", asked["result_dtype"], "not a type of numbers", remedy))
    return problems


class RefuseWrongSettings(Transform):
    """First step for an image: raises what is wrong with the settings, which the other steps are left out for.

    A component that gets a wrong value fails while the config is parsed, which MONAI reports as a fault of the config;
    a server has no answer to that. The folder run never comes here with a wrong value: its preflight says so before.

    Args:
        asked: as in `wrong_settings`.
    """

    def __init__(self, asked: Mapping[str, Any]) -> None:
        self.problems = wrong_settings(asked)

    def __call__(self, data: Any) -> Any:
        """Return ``data`` as it is.

        Raises:
            FreRecError: the first thing that is wrong.
        """
        if self.problems:
            raise self.problems[0]
        return data


class Answering(Transform):
    """Runs transforms for a server, and answers what a client can mend with HTTP status 400 and one line.

    Without it MONAI Label answers any error with 500 and no word, and writes its traceback to the console alone. The
    line goes to the server's log as well, which clients can read under ``/logs/``.

    Args:
        transform: from the data of a request to that of the network.
    """

    def __init__(self, transform: Callable[[Any], Any]) -> None:
        self.transform = transform

    def __call__(self, data: Any) -> Any:
        """Run the transforms.

        Raises:
            HTTPException: of starlette, for errors of this package, where there is a server.
            FreRecError: the same where there is none.
        """
        try:
            return self.transform(data)
        except Exception as error:
            known = next((cause for cause in causes(error) if isinstance(cause, FreRecError)), None)
            if known is None:
                raise
            _logger.error("%s", known)
            if _serves:
                raise HTTPException(status_code=400, detail=str(known)) from error
            raise known from error


class ViewerLayoutd(MapTransform):
    """Bring a result into the layout in which MONAI Label writes and shows arrays.

    Label's writers take arrays without a channel axis whose first axis is x, and keep an affine only with three axes.
    Ours are (C, H, W) or (C, H, W, D), rows first. So a gray volume becomes (W, H, D), a gray image that lies somewhere
    in space, from NIfTI or DICOM, (W, H, 1), a gray picture (W, H) and a colour one (W, H, 3). What the writers read
    in the reference image's metadata is set to match: ``spatial_shape``, because Label's ``Restored`` resizes
    whatever differs from it, and ``original_affine``, for a picture the one by which ITK shows it upright.

    Label casts to the type that a client asks for, by which values beyond it would come out anywhere: they are rounded
    and clipped to it here.

    Args:
        keys: results, (C, H, W) or (C, H, W, D).
        reference_key: the input image, whose metadata a viewer's writer looks at.
        dtype_key: where the data names the type of the answer, such as ``uint8``.
        allow_missing_keys: as in MONAI.
    """

    def __init__(
        self,
        keys: KeysCollection,
        reference_key: str = "image",
        dtype_key: str = "result_dtype",
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.reference_key, self.dtype_key = reference_key, dtype_key

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Return a copy of ``data`` with the results laid out anew, as plain tensors."""
        result = dict(data)
        dtype = np.dtype(result.get(self.dtype_key) or np.float32)
        for key in self.key_iterator(result):
            reference = result.get(self.reference_key)
            source = source_of(reference)
            in_space = source is not None and source.kind not in PICTURES
            image = torch.as_tensor(result[key])
            plain = (image.as_tensor() if isinstance(image, MetaTensor) else image).transpose(1, 2)
            if plain.shape[0] == 1:
                plain = plain[0, ..., None] if plain.ndim == 3 and in_space else plain[0]
            elif plain.ndim == 3:
                plain = plain.movedim(0, -1)
            if dtype.kind in "iu":
                limits = np.iinfo(dtype)
                plain = plain.double().round().clamp(limits.min, limits.max)
            result[key] = plain.contiguous()
            if isinstance(reference, MetaTensor):
                affine = np.asarray(reference.meta["original_affine"])[:, [1, 0, 2, 3]]
                affine = np.diag([-1.0, -1.0, 1.0, 1.0]) if source is not None and not in_space else affine
                swapped = {"spatial_shape": np.asarray(plain.shape), "original_affine": affine}
                result[self.reference_key] = MetaTensor(reference, meta={**reference.meta, **swapped})
        return result
