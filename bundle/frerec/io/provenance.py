"""What was done to an image, with which settings and by what: the records that outputs and manifests carry."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch

from frerec import __version__
from frerec.errors import ConfigError
from frerec.files import file_sha256, name_to_text

SOFTWARE = "FreRec"
PURPOSE = "frequency recalibration"

# DICOM's limit for the attributes these texts go to (VR LO, PS3.5 table 6.2-1).
_LONG_STRING = 64


# What is told elsewhere in a provenance, or does not touch the pixels.
_APART = ("frerec_version", "weights_sha256", "synthetic", "generator", "output_format", "label_maps")


class RunSettings(dict[str, Any]):
    """Everything the outputs of a run depend on besides their inputs, as plain values: one record for all who ask.

    The saver tells of it in every output, the manifest keeps it and resumes by its `fingerprint`.
    """

    @property
    def fingerprint(self) -> str:
        """Its short name: the first 16 hexadecimal digits of the SHA-256 of its canonical JSON."""
        return hashlib.sha256(canonical_json(self).encode("ascii")).hexdigest()[:16]

    def processing(self) -> dict[str, Any]:
        """The part that a provenance lists as settings."""
        return {key: plain(value) for key, value in self.items() if key not in _APART}


def run_settings(
    files: Mapping[str, str | None] | None = None, reported_by: Iterable[Any] = (), **values: Any
) -> RunSettings:
    """Collect the settings of a run as they are applied.

    What only steers how the work is done (device, batch size, workers, sharding) does not belong here: a folder may
    be finished on another machine.

    Args:
        files: name to path of files the outputs depend on, such as ``{"bank": ..., "weights": ...}``; they enter by
            checksum, as ``bank_sha256``, not by path. None for one that is not used.
        reported_by: transforms, or compositions of them. What those with a method ``settings`` say of themselves
            replaces ``values``: a component knows what it applies, whichever way it was told.
        values: plain settings: numbers, strings, booleans, None, lists of them. A setting that a component reports
            stands here as what holds where that component is left out.

    Raises:
        OSError: one of ``files`` cannot be read.
    """
    settings = RunSettings(frerec_version=__version__, **values)
    for transform in reported_by:
        for part in getattr(transform, "transforms", [transform]):
            if hasattr(part, "settings"):
                settings.update(part.settings())
    settings.update({f"{name}_sha256": file_sha256(path) if path else None for name, path in (files or {}).items()})
    return settings


@dataclass(frozen=True)
class Generator:
    """The software that made a synthetic image.

    Args:
        manufacturer: who made the generator.
        model: its name, for example ``"StyleGAN3"``.
        version: its version or the checksum of its checkpoint.

    Raises:
        ConfigError: if a text is longer than 64 characters or not printable ASCII without backslash, as DICOM needs.
    """

    manufacturer: str = "unknown"
    model: str = "unknown"
    version: str = "unknown"

    def __post_init__(self) -> None:
        for name, text in asdict(self).items():
            legal = isinstance(text, str) and text.isascii() and text.isprintable() and "\\" not in text
            if not legal or not 0 < len(text.strip()) <= _LONG_STRING:
                raise ConfigError(
                    f"generator.{name}", text, "not a text that DICOM can hold", "Use 1 to 64 plain ASCII characters"
                )

    @classmethod
    def from_config(cls, value: Generator | Mapping[str, Any] | None) -> Generator | None:
        """Build from what a config gives: None, a mapping with this class' argument names, or an instance.

        Raises:
            ConfigError: for an unknown key or an unusable text.
        """
        if value is None or isinstance(value, Generator):
            return value
        unknown = sorted(set(value) - {"manufacturer", "model", "version"})
        if unknown:
            remedy = "Use manufacturer, model and version"
            raise ConfigError("generator", dict(value), f"unknown keys {', '.join(unknown)}", remedy)
        return cls(**value)


@dataclass(frozen=True)
class Provenance:
    """Everything needed to tell, and to repeat, what was done to one image.

    Args:
        source_name: path of the input relative to the input folder.
        source_sha256: checksum of the input file (of a series: of the checksums of its files).
        settings: settings of the run.
        sample: what SHR reported for this image alone.
        weights_sha256: checksum of the network's weights; None if no network was applied.
        synthetic: whether the image is declared synthetic.
        generator: what made it, if known.
        version: version of this package.
    """

    source_name: str
    source_sha256: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    sample: Mapping[str, Any] = field(default_factory=dict)
    weights_sha256: str | None = None
    synthetic: bool = False
    generator: Generator | None = None
    version: str = __version__

    def run_key(self) -> str:
        """What all outputs of one run share, as canonical JSON: the base of a derived series' identity."""
        shared = ("version", "settings", "weights_sha256", "synthetic", "generator")
        record = self.record()
        return canonical_json({key: record[key] for key in shared})

    def record(self) -> dict[str, Any]:
        """The record as a dictionary that JSON can hold, free of times and of absolute paths.

        Two runs that do the same give the same record, so whole output trees can be compared byte for byte.
        """
        return {
            "software": SOFTWARE,
            "version": self.version,
            "purpose": PURPOSE,
            "synthetic": self.synthetic,
            "generator": asdict(self.generator) if self.generator else None,
            "source": {"name": name_to_text(self.source_name), "sha256": self.source_sha256},
            "settings": dict(self.settings),
            "sample": dict(self.sample),
            "weights_sha256": self.weights_sha256,
        }

    def sentence(self) -> str:
        """One line of printable ASCII for people and for text attributes, below 1024 characters for usual settings."""
        told = {**self.settings, "weights_sha256": self.weights_sha256 or "none"}
        values = ", ".join(f"{key}={_short(value)}" for key, value in told.items())
        return f"{SOFTWARE} {self.version} {PURPOSE}: {values}"


def plain(value: Any) -> Any:
    """Turn tensors, arrays and paths, as batching leaves them, into values that JSON can hold.

    Args:
        value: any nesting of mappings, sequences, tensors, arrays, paths and scalars.

    Returns:
        The same with plain dictionaries, lists and Python scalars. One-element tensors become scalars.
    """
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, torch.Tensor):
        return value.item() if value.numel() == 1 else value.detach().cpu().tolist()
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return value.tolist()
    if value is None or isinstance(value, str | int | float | bool):
        return value
    return str(value)


def canonical_json(value: Any) -> str:
    """JSON with sorted keys and no spaces, so that equal values give equal text."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else canonical_json(value)
    return text.encode("ascii", "replace").decode()
