"""Values that can be judged by themselves: numbers in range, known names, a device that is there."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from numbers import Real
from os import PathLike
from typing import Any

import torch

from frerec.errors import ConfigError, FreRecError
from frerec.io.label_maps import CHOICES as LABEL_MAPS
from frerec.io.naming import OUTPUT_FORMATS
from frerec.io.provenance import Generator
from frerec.io.ranges import RULES as RULES_OF_RANGE
from frerec.rhm.losses import AMPLITUDE_KINDS
from frerec.rhm.networks import NETWORKS
from frerec.run.tracking import TRACKERS, is_installed
from frerec.shr.array import MODES
from frerec.shr.bank.builder import PIXEL_SCALE
from frerec.shr.bank.info import KINDS
from frerec.shr.retrieval.retriever import METHODS


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


def _above(low: float, included: bool = False) -> Callable[[Any], str | None]:
    def judge(value: Any) -> str | None:
        if not isinstance(value, Real) or isinstance(value, bool):
            return "not a number"
        good = low < float(value) < math.inf or (included and float(value) == low)
        return None if good else f"not a number {'from' if included else 'above'} {low:g}" + " on" * included

    return judge


def _list(value: Any) -> str | None:
    # a text would be taken for the list of its letters
    good = isinstance(value, Sequence) and not isinstance(value, str) and len(value) > 0
    return None if good else "not a list"


def _share(value: Any) -> bool:
    return _between(0, 1)(value) is None


def _shares(value: Any) -> str | None:
    return None if _list(value) is None and all(map(_share, value)) else "not a list of numbers between 0 and 1"


def _each(judge: Callable[[Any], str | None]) -> Callable[[Any], str | None]:
    def judge_all(value: Any) -> str | None:
        return _list(value) or next((f"{one}: {reason}" for one in value if (reason := judge(one))), None)

    return judge_all


def _label(value: Any) -> str | None:
    return None if isinstance(value, str | int) and not isinstance(value, bool) else "not the name of a class"


def _fill(value: Any) -> str | None:
    return None if value == "balance" or _above(0)(value) is None else "neither balance nor a number above 0"


def _share_or_shares(value: Any) -> str | None:
    shares = value if isinstance(value, list | tuple) else [value]
    return None if _shares(shares) is None and all(shares) else "not a number, or numbers, above 0 and up to 1"


def _ratio(value: Any) -> str | None:
    given = value if _list(value) is None else [value]
    return None if all(_above(0)(ratio) is None for ratio in given) else "not a number above 0, nor a list of such"


def _size(value: Any) -> str | None:
    sides = [value] if isinstance(value, int) else value
    good = _list(sides) is None and len(sides) <= 3 and all(_whole(1)(side) is None for side in sides)
    return None if good else "not the sides of an image"


def _boolean(value: Any) -> str | None:
    # `--overwrite true` arrives as the text "true", and the text "false" would count as yes
    return None if isinstance(value, bool) else "not a truth value"


_POSITIVE = "Use 1 or more"
_SWITCH = "Write True or False, with a capital letter"
_RATE = "Use a number above 0, such as 0.001"
_WEIGHT = "Use 0 (leave it out) or more"
_NAMES = """Write it as "['one','two']\""""

#: For each id: what is wrong with a value (None if nothing), and the remedy.
RULES: dict[str, tuple[Callable[[Any], str | None], str]] = {
    "mask_ratio": (_between(0, 1, open_ends=True), "Use a fraction of Nyquist such as 0.25; the paper uses 0.5"),
    "strength": (_between(0, 1), "Use 0 (keep the image) to 1 (replace all of the high band)"),
    "transition": (_above(0, included=True), "Use a width in fractions of Nyquist such as 0.3; 0 for the paper's step"),
    "max_gain": (_above(1, included=True), "Use 1 or more, such as 2"),
    "ema_momentum": (_between(0, 1, open_ends=True), "Use a small share such as 0.001"),
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
    "start": (_between(0.01, 1), "Use the share of the chain the generator was trained with, such as 0.5"),
    "steps": (_whole(1), _POSITIVE),
    "synthetic": (_one_of((True, False, "auto")), "Write True, False or auto"),
    "append": (_boolean, _SWITCH),
    "count": (_whole(1), "Use the number of images to make"),
    "guidance": (_above(0, included=True), "Use 1 for the distribution the generator learnt, more for clearer classes"),
    "temperature": (_above(0, included=True), "Use 0 (none) or more"),
    "features_size": (_whole(16), "Use 16 or more pixels"),
    "features_epochs": (_whole(0), _WEIGHT),
    "features_channels": (_whole(1), "Use 1 for gray and 3 for colour images"),
    "cnn_steps": (_whole(0), _WEIGHT),
    "cnn_images": (_whole(0), _WEIGHT),
    "examples": (_whole(0), _WEIGHT),
    "n_rings": (_whole(1), _POSITIVE),
    "bootstrap_draws": (_whole(1), _POSITIVE),
    "draws": (_whole(1), _POSITIVE),
    "num_seeds": (_whole(1), "Use 1 or more, better 5"),
    "num_threads": (_whole(1), _POSITIVE),
    "max_steps": (_whole(1), _POSITIVE),
    "validations": (_whole(1), _POSITIVE),
    "val_interval": (_whole(1), _POSITIVE),
    "autoencoder_epochs": (_whole(1), _POSITIVE),
    "flow_batch_size": (_whole(1), _POSITIVE),
    "learning_rate": (_above(0), _RATE),
    "flow_learning_rate": (_above(0), _RATE),
    "discriminator_learning_rate": (_above(0), _RATE),
    "storage_step": (_between(0, 1), "Use 0.0039 for 8 bits, 0 for more"),
    "max_grad_norm": (_above(0), "Use a number above 0, such as 0.5"),
    "weight_decay": (_above(0, included=True), _WEIGHT),
    "spectral_weight": (_above(0, included=True), _WEIGHT),
    "adversarial_weight": (_above(0, included=True), _WEIGHT),
    "image_size": (_size, """Write it as "[128,128]\""""),
    "crop_size": (_size, """Write it as "[128,128]\""""),
    "synthetic_ratio": (_ratio, "Use the number of synthetic images per real one"),
    "label_fractions": (_shares, 'Write it as "[0.25,1.0]"'),
    "rare_fraction": (_share_or_shares, 'Use a share such as 0.1, or write several as "[0.05,0.1]"'),
    "rare_validation": (_boolean, _SWITCH),
    "rare_class": (_label, "Name a class as the datalist has it"),
    "fill": (_fill, "Use balance, or the number of synthetic images per real one of the rare class"),
    "fill_classes": (_one_of(("rare", "all")), "Use rare or all"),
    "budget_minutes": (_above(0), "Use the minutes that may be spent, such as 30"),
    "strengths": (_each(_between(0, 1)), 'Write it as "[0.3,1.0]"'),
    "mask_ratios": (_each(_between(0, 1, open_ends=True)), 'Write it as "[0.05,0.1]"'),
    "transitions": (_each(_above(0, included=True)), 'Write it as "[0.0,0.1]"'),
    "keep": (_whole(1), _POSITIVE),
    "figure_images": (_whole(1), "Use 20 or more, such as 100; a detector needs 20"),
    "stages": (_list, _NAMES),
    "recalibrate": (_list, _NAMES),
    "class_names": (_list, _NAMES),
    "classes": (_list, _NAMES),
    "arm_names": (_list, _NAMES),
    "reference_arms": (_list, _NAMES),
    "classifiers": (_list, _NAMES),
}

#: For each id that takes a name: the names there are.
NAMES: dict[str, Collection[str]] = {
    "preset": NETWORKS,
    "mode": MODES,
    "method": METHODS,
    "intensity_range": RULES_OF_RANGE,
    "label_maps": LABEL_MAPS,
    "output_format": OUTPUT_FORMATS,
    "generator_type": ("latent_flow", "pixel_diffusion"),
    "kind": KINDS,
    "pixel_dtype": tuple(PIXEL_SCALE),
    "pixel_loss": ("l1", "mse"),
    "spectral_loss": ("none", "complex", *AMPLITUDE_KINDS),
    "tracker": TRACKERS,
}


#: Ids of numbers for which None has a meaning.
MAY_BE_NONE = (
    "bands", "channels", "n_rings", "image_size", "learning_rate", "features_channels", "classes", "rare_class",
)  # fmt: skip


def is_path(key: str) -> bool:
    """Whether a config id names a file or folder."""
    return key.endswith(("_dir", "_path", "datalist"))


def _check_path(key: str, value: Any) -> ConfigError | None:
    """A path that Python Fire, which reads the command line, took for something else."""
    if value is None or isinstance(value, PathLike):
        return None
    if isinstance(value, str):
        return None if "\0" not in value else ConfigError(key, value, "no path can hold a null byte", "Check the path")
    if isinstance(value, bool):
        remedy = f"Write the path after --{key}; one that begins with a hyphen as ./-name"
        return ConfigError(key, value, "no path was given", remedy)
    reason = f"it was read as a {type(value).__name__}, not as a path"
    return ConfigError(key, value, reason, "Write a name that looks like a number or a list as ./name")


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
    problems += [problem for key, value in values.items() if is_path(key) and (problem := _check_path(key, value))]
    for key, (judge, remedy) in RULES.items():
        value = values.get(key)
        if value is None and (key not in values or key in MAY_BE_NONE):
            continue
        reason = judge(value)
        if reason:
            problems.append(ConfigError(key, value, reason, remedy))
    for key, names in NAMES.items():
        value = values.get(key)
        if value is not None and value not in names:
            problems.append(ConfigError(key, value, f"unknown {key}", f"Use one of {', '.join(names)}"))
        elif key == "tracker" and value is not None and not is_installed(value):
            problems.append(ConfigError(key, value, "this package is not installed", f"pip install {value}"))
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
