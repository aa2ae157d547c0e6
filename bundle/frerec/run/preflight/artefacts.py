"""Reference bank and weights: whole, as shipped, and made for these settings."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from frerec.errors import ConfigError, FreRecError, InputError
from frerec.files import file_sha256
from frerec.rhm.networks import restoration_network
from frerec.shr.bank.reference import ReferenceBank

CHECKSUMS = "checksums.sha256"
LIKELY_CHANNELS = (1, 2, 3, 4)


def check_bank(values: Mapping[str, Any]) -> list[FreRecError]:
    """Check the reference bank against its checksum and the settings.

    Args:
        values: settings by config id; ``bank_path``, ``top_k``, ``method``, ``channels``, ``spatial_dims`` and
            ``strength`` matter (at strength 0 nothing is retrieved, so no bank is needed).

    Returns:
        One error per problem.
    """
    value = values.get("bank_path")
    if not value or values.get("strength") == 0:
        return []
    try:
        bank = ReferenceBank.open(value)
    except InputError as error:
        return [ConfigError("bank_path", str(value), error.reason, error.remedy)]
    problems = check_listed("bank_path", value)
    top_k = values.get("top_k")
    if top_k is not None and len(bank) < top_k:
        reason = f"the reference bank holds only {len(bank)} images"
        problems.append(ConfigError("top_k", top_k, reason, f"Use at most {len(bank)}, or build a larger bank"))
    method = values.get("method")
    if isinstance(method, str) and method.startswith("ssim") and bank.info.kind != "pixels":
        reason = f"the reference bank {value} holds no pixels to compare"
        problems.append(ConfigError("method", method, reason, "Use descriptor, or a bank of kind pixels"))
    channels = values.get("channels")
    if channels is not None and bank.info.channels != channels:
        reason = f"the reference bank {value} has {_channels(bank.info.channels)}"
        problems.append(ConfigError("channels", channels, reason, "Use a bank built from images of the same kind"))
    dims = values.get("spatial_dims")
    # a volume in a 2-D bank is taken slice by slice; a slice cannot be looked up among volumes
    if dims is not None and bank.info.spatial_dims > dims:
        reason = f"the reference bank {value} was built from {bank.info.spatial_dims}-D images"
        problems.append(ConfigError("spatial_dims", dims, reason, "Use a bank of 2-D images"))
    return problems


def check_weights(values: Mapping[str, Any]) -> list[FreRecError]:
    """Check weights against their checksum and, where ``preset`` is given, against the FreRec network.

    Args:
        values: settings by config id; ``weights_path``, ``initial_weights_path``, ``preset``, ``channels``,
            ``spatial_dims`` and ``use_network`` matter. A network other than the presets is not checked: leave
            ``preset`` empty.

    Returns:
        One error per problem.
    """
    if values.get("use_network") is False:
        return []
    ids = [key for key in ("weights_path", "initial_weights_path") if values.get(key)]
    return [problem for key in ids for problem in _check_file(key, values)]


def _check_file(key: str, values: Mapping[str, Any]) -> list[FreRecError]:
    path, told = Path(values[key]), str(values[key])
    if not path.is_file():
        return [ConfigError(key, told, "no such file", _remedy(key, values))]
    problems = check_listed(key, path)
    if problems:
        return problems
    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        # the messages of pickle and zip are long and say no more than this
        reason = f"not a file of weights that loads without running code ({type(error).__name__})"
        return [ConfigError(key, told, reason, "Save a state_dict with torch.save, or copy the file again")]
    state = loaded.get("model", loaded) if isinstance(loaded, Mapping) else None
    if not isinstance(state, Mapping) or not all(isinstance(t, torch.Tensor) for t in state.values()):
        return [ConfigError(key, told, "holds no state_dict", "Save network.state_dict() with torch.save")]
    if any(values.get(name) is None for name in ("preset", "channels", "spatial_dims")):
        return []
    return _check_fit(told, state, values)


def _remedy(key: str, values: Mapping[str, Any]) -> str:
    if key == "initial_weights_path":
        return "Check the path, or leave it out to start from scratch"
    if "generator_type" in values:
        return "Check the path, or train a generator with configs/train_generator.json or train_diffusion.json"
    without = ", or set --use_network False" if "use_network" in values else ""
    return f"Check the path, or train weights with configs/train.json{without}"


def _check_fit(told: str, state: Mapping[str, torch.Tensor], values: Mapping[str, Any]) -> list[FreRecError]:
    preset, channels, dims = values["preset"], values["channels"], values["spatial_dims"]
    wanted, found = _shapes(preset, dims, channels), {key: tensor.shape for key, tensor in state.items()}
    if wanted == found:
        return []
    if wanted.keys() != found.keys():
        return [ConfigError("preset", preset, f"the weights {told} belong to another network",
                            "Use the preset that they were trained with")]  # fmt: skip
    differing = [key for key in wanted if wanted[key] != found[key]]
    if all(len(wanted[key]) != len(found[key]) for key in differing if len(wanted[key]) > 2):
        return [ConfigError("spatial_dims", dims, f"the weights {told} were trained for other dimensions",
                            "Use the weights' own spatial_dims")]  # fmt: skip
    for trained in LIKELY_CHANNELS:
        if _shapes(preset, dims, trained) == found:
            return [ConfigError("channels", channels, f"the weights {told} were trained on {_channels(trained)}",
                                "Use weights trained on images of the same kind")]  # fmt: skip
    return [ConfigError("preset", preset, f"the weights {told} belong to a network of another size",
                        "Use the preset they were trained with")]  # fmt: skip


def _shapes(preset: str, dims: int, channels: int) -> dict[str, torch.Size]:
    with torch.device("meta"):
        state = restoration_network(preset, dims, channels).state_dict()
    return {key: tensor.shape for key, tensor in state.items()}


def check_listed(key: str, value: Any) -> list[FreRecError]:
    """Compare a file with the list of checksums beside it, if there is one that names it.

    Args:
        key: config id of the file.
        value: its path.
    """
    path = Path(value).absolute()
    for folder in (path.parent, path.parent.parent):
        try:
            lines = (folder / CHECKSUMS).read_text(encoding="utf-8").splitlines()
        except OSError:
            continue
        # as sha256sum writes it: checksum, a space, a space or an asterisk, the name
        name = path.relative_to(folder).as_posix()
        expected = next((line[:64] for line in lines if line[66:] == name), None)
        if expected is not None and file_sha256(path) != expected:
            reason = f"differs from its checksum in {folder / CHECKSUMS}: it is damaged or was replaced"
            remedy = f"Copy it again, or update {CHECKSUMS} if you replaced it on purpose"
            return [ConfigError(key, str(value), reason, remedy)]
    return []


def _channels(count: int) -> str:
    return f"{count} channel" + ("s" if count != 1 else "")
