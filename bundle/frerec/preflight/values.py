"""Values that can be judged by themselves: numbers in range, known names, a device that is there."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from numbers import Real
from typing import Any

import torch

from frerec.errors import ConfigError, FreRecError
from frerec.imaging.label_maps import CHOICES as LABEL_MAPS
from frerec.imaging.naming import OUTPUT_FORMATS
from frerec.imaging.provenance import Generator
from frerec.imaging.ranges import RULES as RULES_OF_RANGE
from frerec.rhm.presets import PRESETS
from frerec.shr.array import MODES, SAMPLINGS
from frerec.shr.retrieval import METHODS


def _whole(low: int) -> Callable[[Any], str | None]:
    def judge(value: Any) -> str | None:
        good = isinstance(value, int) and not isinstance(value, bool) and value >= low
        return None if good else f"not a whole number from {low} on"

    return judge


def _between(low: float, high: float, open_ends: bool = False) -> Callable[[Any], str | None]:
    def judge(value: Any) -> str | None:
        if not isinstance(value, Real) or isinstance(value, bool):
            return "not a number"
        number = float(value)
        if low < number < high or (not open_ends and number in (low, high)):
            return None
        return f"not between {low:g} and {high:g}" + (", both excluded" if open_ends else "")

    return judge


def _one_of(choices: Sequence[Any]) -> Callable[[Any], str | None]:
    def judge(value: Any) -> str | None:
        return None if value in choices else f"not one of {', '.join(map(str, choices))}"

    return judge


def _boolean(value: Any) -> str | None:
    # `--overwrite true` arrives as the text "true", and the text "false" would count as yes
    return None if isinstance(value, bool) else "not a truth value"


_POSITIVE = "Use 1 or more"
_SWITCH = "Write True or False, with a capital letter"

#: For each id: what is wrong with a value (None if nothing), and the remedy.
RULES: dict[str, tuple[Callable[[Any], str | None], str]] = {
    "mask_ratio": (_between(0, 1, open_ends=True), "Use a fraction of Nyquist such as 0.25; the paper uses 0.5"),
    "strength": (_between(0, 1), "Use 0 (keep the image) to 1 (replace all of the high band)"),
    "top_k": (_whole(1), "Use 1 or more; the paper uses 200"),
    "bands": (_whole(1), "Use 1 for the paper's single high band, more for finer ones, none for the finest"),
    "batch_size": (_whole(1), _POSITIVE),
    "sub_batch_size": (_whole(1), _POSITIVE),
    "num_workers": (_whole(0), "Use 0 to load in the main process"),
    "seed": (_whole(0), "Use 0 or more"),
    "max_epochs": (_whole(1), _POSITIVE),
    "channels": (_whole(1), "Use 1 for gray and 3 for colour images"),
    "spatial_dims": (_one_of((2, 3)), "Use 2 for images and 3 for volumes"),
    "shard_count": (_whole(1), "Use the number of runs that share the folder"),
    "shard_index": (_whole(0), "Number the runs from 0"),
    "amp": (_boolean, _SWITCH),
    "overwrite": (_boolean, _SWITCH),
    "use_network": (_boolean, _SWITCH),
    "group_series": (_boolean, _SWITCH),
    "verify_output": (_boolean, _SWITCH),
    "impose_profile": (_boolean, _SWITCH),
    "fesa": (_boolean, _SWITCH),
    "start": (_between(0.01, 1), "Use the share of the chain the generator was trained with, such as 0.5"),
    "steps": (_whole(1), _POSITIVE),
    "synthetic": (_one_of((True, False, "auto")), "Write True, False or auto"),
}

#: For each id that takes a name: the names there are.
NAMES: dict[str, Collection[str]] = {
    "preset": PRESETS,
    "mode": MODES,
    "sampling": SAMPLINGS,
    "method": METHODS,
    "intensity_range": RULES_OF_RANGE,
    "label_maps": LABEL_MAPS,
    "output_format": OUTPUT_FORMATS,
    "generator_type": ("latent_flow", "pixel_diffusion"),
}


def check_values(required: Sequence[str], values: Mapping[str, Any]) -> list[FreRecError]:
    """Check every value that can be judged without opening a file.

    Args:
        required: ids that must have a value.
        values: settings by config id. None and empty text mean "not given".

    Returns:
        One error per problem.
    """
    problems: list[FreRecError] = [
        ConfigError(key, values.get(key), "it is needed and has no value", f"Give it with --{key}")
        for key in required
        if values.get(key) in (None, "")
    ]
    for key, (judge, remedy) in RULES.items():
        value = values.get(key)
        reason = None if value is None else judge(value)
        if reason:
            problems.append(ConfigError(key, value, reason, remedy))
    for key, names in NAMES.items():
        value = values.get(key)
        if value is not None and value not in names:
            problems.append(ConfigError(key, value, f"unknown {key}", f"Use one of {', '.join(names)}"))
    try:
        Generator.from_config(values.get("generator"))
    except ConfigError as error:
        problems.append(error)
    except TypeError:
        remedy = "Write a mapping with manufacturer, model and version"
        problems.append(ConfigError("generator", values["generator"], "not a mapping", remedy))
    wrong = {getattr(problem, "config_id", "") for problem in problems}
    index, count = values.get("shard_index"), values.get("shard_count")
    if index is not None and count is not None and not wrong & {"shard_index", "shard_count"} and index >= count:
        reason = f"with shard_count={count} the shards are 0 to {count - 1}"
        problems.append(ConfigError("shard_index", index, reason, "Number the runs from 0"))
    if values.get("device") is not None:
        problems += _check_device(values["device"])
    return problems


def _check_device(value: Any) -> list[FreRecError]:
    try:
        device = torch.device(value)
    except (RuntimeError, TypeError):
        return [ConfigError("device", value, "unknown device", "Use cpu, cuda or cuda:0")]
    name = str(device)
    if device.type == "cuda" and not torch.cuda.is_available():
        why = "this build of PyTorch has no CUDA" if torch.version.cuda is None else "no CUDA device is visible"
        return [ConfigError("device", name, why, "Use --device cpu, or install PyTorch with CUDA and check nvidia-smi")]
    if device.type == "cuda" and device.index is not None and device.index >= torch.cuda.device_count():
        last = torch.cuda.device_count() - 1
        return [ConfigError("device", name, "there is no such device", f"Use cuda:0 to cuda:{last}")]
    if device.type == "mps" and not torch.backends.mps.is_available():
        return [ConfigError("device", name, "there is no such device", "Use --device cpu")]
    return []
