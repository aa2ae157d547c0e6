"""Images of an arm, computed once and kept on disk."""

from __future__ import annotations

import enum
import functools
import hashlib
import json
import os
import types
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor
from monai.transforms import Resize

from frerec.errors import ConfigError, InputError
from frerec.files import atomic_write, file_sha256
from frerec.study.cohort import Case

Transform = Callable[[dict[str, Any]], Any]


def fingerprint(thing: Any) -> str:
    """Digest of everything that decides what a transform does: its class, settings, weights and named files.

    Objects are walked through their attributes. Tensors and arrays count by content, a string or path that names an
    existing file by the file's content, random states not at all (transforms of a study must not depend on them),
    a function by its code, defaults and closure (not by what it calls), and an object with a ``fingerprint`` or
    ``sha256`` attribute (a reference bank) by that.

    Args:
        thing: a transform, network, inferer, or a tree of them.
    """
    total = hashlib.sha256()
    _walk(thing, total.update, [])
    return total.hexdigest()[:16]


def _walk(thing: Any, put: Callable[[bytes], None], above: list[int]) -> None:
    if isinstance(thing, (torch.Tensor, np.ndarray)):
        array = np.ascontiguousarray(thing.detach().cpu().numpy() if isinstance(thing, torch.Tensor) else thing)
        put(f"{array.dtype}{array.shape}".encode())
        put(array.tobytes())
    elif thing is None or isinstance(thing, (bool, int, float, complex, bytes)):
        put(repr(thing).encode())
    elif isinstance(thing, (str, os.PathLike)):
        # The name of a file does not matter, what is in it does.
        is_file = 0 < len(os.fspath(thing)) < 4096 and Path(thing).is_file()
        put((file_sha256(thing) if is_file else str(thing)).encode())
    elif isinstance(thing, (np.random.RandomState, np.random.Generator, torch.Generator)):
        put(b"random")
    elif id(thing) in above:
        put(b"cycle")
    elif isinstance(known := getattr(thing, "fingerprint", getattr(thing, "sha256", None)), str):
        put(f"{type(thing).__qualname__}{known}".encode())
    else:
        _walk_compound(thing, put, [*above, id(thing)])


def _walk_compound(thing: Any, put: Callable[[bytes], None], above: list[int]) -> None:
    put(f"{type(thing).__module__}.{type(thing).__qualname__}(".encode())
    for part in _parts(thing):
        _walk(part, put, above)
    put(b")")


def _parts(thing: Any) -> Iterable[Any]:
    if isinstance(thing, Mapping):
        return (part for key in sorted(thing, key=repr) for part in (key, thing[key]))
    if isinstance(thing, (list, tuple)):
        return thing
    if isinstance(thing, (set, frozenset)):
        return sorted(thing, key=repr)
    if isinstance(thing, torch.nn.Module):
        # The class of each layer and its weights; hooks and caches of a module are not settings.
        return (*((name, type(layer).__qualname__) for name, layer in thing.named_modules()), thing.state_dict())
    if isinstance(thing, functools.partial):
        return thing.func, thing.args, thing.keywords
    if isinstance(thing, types.MethodType):
        return thing.__self__, thing.__func__.__qualname__
    if isinstance(thing, types.FunctionType):
        cells = [cell.cell_contents for cell in thing.__closure__ or ()]
        return thing.__code__, thing.__defaults__, thing.__kwdefaults__, cells
    if isinstance(thing, types.CodeType):
        return thing.co_code, thing.co_names, thing.co_consts
    if isinstance(thing, (type, types.BuiltinFunctionType, types.ModuleType, enum.Enum)):
        return (repr(thing),)
    slots = [name for kind in type(thing).__mro__ for name in getattr(kind, "__slots__", ()) if hasattr(thing, name)]
    settings = {**{name: getattr(thing, name) for name in slots}, **getattr(thing, "__dict__", {})}
    return (part for key in sorted(settings) for part in (key, settings[key]))


def fit_image(image: torch.Tensor, channels: int, size: Sequence[int]) -> torch.Tensor:
    """Bring an image to the study's size and range.

    Args:
        image: (channels, *spatial), nominally in [0, 1].
        channels: as the study has them.
        size: spatial size wanted. Others are resampled by MONAI's ``Resize`` with ``anti_aliasing``.

    Returns:
        float32 tensor (channels, *size) in [0, 1]; a MetaTensor keeps its meta.

    Raises:
        ConfigError: the channels or the number of dimensions do not fit.
    """
    plain = image.as_tensor() if isinstance(image, MetaTensor) else image
    if plain.shape[0] != channels:
        raise ConfigError("channels", channels, f"an image has {plain.shape[0]}", "Use 1 for gray, 3 for colour")
    if len(size) != plain.ndim - 1:
        raise ConfigError("image_size", list(size), f"an image has size {tuple(plain.shape[1:])}", "Give a side each")
    # The same resampling as in the workflows that train generators and networks: another one would be a spectral
    # difference between real and synthetic images of our own making.
    plain = Resize(tuple(size), anti_aliasing=True)(plain.float())
    plain = (plain.as_tensor() if isinstance(plain, MetaTensor) else plain).clamp(0, 1).contiguous()
    return MetaTensor(plain, meta=image.meta) if isinstance(image, MetaTensor) else plain


class ImageCache:
    """Loads images, fits them to the study, runs an arm's transform, and keeps the results as float16 files.

    A file is named by the checksum of the source file and the fingerprints of the loader, the transform and the
    size, so a changed image or setting is computed anew and nothing stale is ever read. Files appear atomically,
    so several processes can fill one cache.

    Args:
        folder: where the files are kept.
        load: transform from ``{"image": path, ...}`` to the same with ``image`` as tensor (C, *spatial) in [0, 1].
        channels: channels of the study.
        size: spatial size of the study.
    """

    def __init__(self, folder: str | os.PathLike[str], load: Transform, channels: int, size: Sequence[int]) -> None:
        self.folder, self.load, self.channels, self.size = Path(folder), load, channels, tuple(size)
        self.loader_key = fingerprint([load, channels, list(self.size), "Resize anti_aliasing"])
        self._digests: dict[str, str] = {}
        self._keys: dict[int, tuple[Transform, str]] = {}

    def digest(self, case: Case) -> str:
        """SHA-256 of the source file of a case, or of the names and contents below a folder (a DICOM series)."""
        if case.image not in self._digests:
            path = Path(case.image)
            files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
            digests = [file_sha256(p) for p in files]
            self._digests[case.image] = (
                digests[0] if len(digests) == 1 else hashlib.sha256(json.dumps(digests).encode()).hexdigest()
            )
        return self._digests[case.image]

    def key(self, transform: Transform | None) -> str:
        """Name of the sub-folder for a transform.

        The fingerprint is taken once, at the first call: a transform may load its bank or fill tables when it is
        used, and that is no change of settings.
        """
        if transform is None:
            return self.loader_key
        if id(transform) not in self._keys:
            self._keys[id(transform)] = (transform, f"{self.loader_key}-{fingerprint(transform)}")
        return self._keys[id(transform)][1]

    def image(self, case: Case) -> dict[str, Any]:
        """Load one case and fit it to the study.

        Returns:
            ``{"image": tensor (C, *size) in [0, 1], "label", "part", "name"}``, a fresh dictionary for transforms;
            ``name`` is the file's checksum, which seeds a transform that draws at random.
        """
        data = self.load({"image": case.image})
        data["image"] = fit_image(data["image"], self.channels, self.size)
        return {**data, "label": case.label, "part": case.part, "name": self.digest(case)}

    def images(
        self,
        cases: Sequence[Case],
        transform: Transform | None = None,
        start: int = 0,
        progress: Callable[[int, int], None] | None = None,
    ) -> torch.Tensor:
        """Images of many cases, transformed, from the cache as far as they are in it.

        Args:
            cases: what to load.
            transform: gets the dictionary of :meth:`image` and returns a tensor (C, *size), or a dictionary with it
                as ``pred`` or else ``image``; None for the images as they are.
            start: case to begin computing with; processes that share a cache begin at different ones.
            progress: called with the number of images done and in all, after each one computed.

        Returns:
            float16 tensor (N, C, *size) in [0, 1].

        Raises:
            InputError: a transform returns another size or values that are not finite.
        """
        folder = self.folder / self.key(transform)
        paths = [folder / f"{self.digest(case)[:32]}-{case.part}-{case.label}.npy" for case in cases]
        missing = [i for i, path in enumerate(paths) if not path.exists()]
        offset = start % len(missing) if missing else 0
        for done, i in enumerate((*missing[offset:], *missing[:offset]), 1):
            if not paths[i].exists():
                self._store(paths[i], self._compute(cases[i], transform))
            if progress:
                progress(done, len(missing))
        stacked = np.empty((len(cases), self.channels, *self.size), dtype=np.float16)
        for i, path in enumerate(paths):
            stacked[i] = np.load(path)
        return torch.from_numpy(stacked)

    def _compute(self, case: Case, transform: Transform | None) -> np.ndarray[Any, Any]:
        data = self.image(case)
        result = transform(data) if transform else data
        if isinstance(result, dict):
            result = result["pred"] if "pred" in result else result["image"]
        array = np.asarray(torch.as_tensor(result).detach().cpu().float())
        if array.shape != (self.channels, *self.size) or not np.isfinite(array).all():
            raise InputError(
                case.image, f"the transform of an arm made of it an array {array.shape}, or values that are not finite",
                f"The study needs finite values and the shape {(self.channels, *self.size)}; check the transform",
            )  # fmt: skip
        return array.clip(0, 1).astype(np.float16)

    @staticmethod
    def _store(path: Path, array: np.ndarray[Any, Any]) -> None:
        with atomic_write(path) as stream:
            np.save(stream, array)
