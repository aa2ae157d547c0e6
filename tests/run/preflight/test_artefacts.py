from __future__ import annotations

import hashlib
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from frerec.rhm.networks import restoration_network
from frerec.run.preflight.artefacts import check_bank, check_listed, check_weights
from frerec.shr.bank.reference import ReferenceBank


def told(problems: list) -> str:
    assert len(problems) == 1, problems
    return str(problems[0])


def test_a_fitting_bank_and_weights_pass(sound: dict[str, Any]) -> None:
    assert check_bank(sound) == []
    assert check_weights(sound) == []


def test_bank_against_settings(sound: dict[str, Any], tmp_path: Path) -> None:
    assert told(check_bank({**sound, "top_k": 7})).startswith("top_k=7: the reference bank holds only 6 images")
    assert "has 1 channel" in told(check_bank({**sound, "channels": 3}))
    assert "holds no pixels" in told(check_bank({**sound, "method": "ssim"}))
    volumes = np.random.default_rng(0).random((2, 1, 16, 16, 16), dtype=np.float32)
    ReferenceBank.build(volumes, tmp_path / "3d.safetensors", spatial_dims=3)
    problem = told(check_bank({**sound, "bank_path": str(tmp_path / "3d.safetensors"), "top_k": 1}))
    assert problem.startswith("spatial_dims=2")


def test_damaged_banks(sound: dict[str, Any], tmp_path: Path) -> None:
    data = bytearray(Path(sound["bank_path"]).read_bytes())
    data[-1] ^= 1
    (tmp_path / "flipped").write_bytes(data)
    (tmp_path / "short").write_bytes(data[:-10])
    for name, word in (("flipped", "checksum"), ("short", "truncated"), ("absent", "cannot be read")):
        problem = told(check_bank({**sound, "bank_path": str(tmp_path / name)}))
        assert problem.startswith("bank_path=")
        assert word in problem


@pytest.mark.parametrize("preset", ["compact", "small"])
def test_weights_against_settings(sound: dict[str, Any], tmp_path: Path, preset: str) -> None:
    path = tmp_path / "model.pt"
    values = {**sound, "weights_path": str(path), "preset": preset}
    torch.save(restoration_network(preset).state_dict(), path)
    assert check_weights(values) == []
    torch.save(restoration_network(preset, channels=3).state_dict(), path)
    assert "trained on 3 channels" in told(check_weights(values))
    size = {"features": (16, 32, 64, 80)} if preset == "compact" else {"width": 16}
    torch.save({"model": restoration_network(preset, **size).state_dict()}, path)
    assert "a network of another size" in told(check_weights(values))
    assert check_weights({**values, "preset": None}) == []
    torch.save(restoration_network("small" if preset == "compact" else "compact").state_dict(), path)
    problem = told(check_weights(values))
    assert problem.startswith(f"preset='{preset}'") and "belong to another network" in problem
    torch.save(restoration_network(preset, 3, **({} if preset == "compact" else {"width": 24})).state_dict(), path)
    assert told(check_weights(values)).startswith("spatial_dims=2")


class Code:
    def __reduce__(self) -> tuple:
        return print, ("this must never run",)


def test_unusable_weights(sound: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "model.pt"
    values = {**sound, "weights_path": str(path)}
    assert "no such file" in told(check_weights(values))
    assert check_weights({**values, "use_network": False}) == []
    path.write_bytes(b"no weights")
    assert "not a file of weights" in told(check_weights(values))
    torch.save({"model": Code()}, path)
    assert "without running code" in told(check_weights(values))
    assert capsys.readouterr().out == ""
    torch.save([1, 2], path)
    assert "no state_dict" in told(check_weights(values))


def test_files_are_held_against_the_list_beside_them(sound: dict[str, Any], tmp_path: Path) -> None:
    for name in ("model.pt", "sub/model.pt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(sound["weights_path"], tmp_path / name)
    sums = tmp_path / "checksums.sha256"
    digest = hashlib.sha256((tmp_path / "model.pt").read_bytes()).hexdigest()
    sums.write_text(f"{digest}  model.pt\n{digest}  sub/model.pt\n")
    for name in ("model.pt", "sub/model.pt"):
        assert check_listed("weights_path", tmp_path / name) == []
        with (tmp_path / name).open("ab") as stream:
            stream.write(b"x")
        assert "differs from its checksum" in told(check_listed("weights_path", tmp_path / name))
    sums.write_text(f"{digest}  another.pt\n")
    assert check_listed("weights_path", tmp_path / "model.pt") == []
