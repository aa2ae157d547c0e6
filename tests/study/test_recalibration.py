"""What an arm does to an image is what ``frerec.Recalibrate`` does to it."""

from __future__ import annotations

import pytest
import torch
from monai.data import MetaTensor

from frerec.recalibrate import Recalibrate
from frerec.rhm.network import FreRecNet
from frerec.shr.bank.reference import ReferenceBank
from frerec.study.cache import fingerprint
from frerec.study.recalibration import Recalibration, Stage


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    folder = tmp_path_factory.mktemp("method")
    images = torch.rand(8, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    ReferenceBank.build([image.numpy() for image in images], folder / "bank.safetensors")
    torch.manual_seed(0)
    network = FreRecNet(preset="small")
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += 0.01 * torch.randn_like(parameter)
    torch.save(network.state_dict(), folder / "model.pt")
    return {
        "bank_path": str(folder / "bank.safetensors"), "weights_path": str(folder / "model.pt"), "preset": "small",
        "strength": 0.5, "mask_ratio": 0.25, "top_k": 3, "seed": 0,
    }  # fmt: skip


def picture() -> MetaTensor:
    return MetaTensor(torch.rand(1, 32, 32, generator=torch.Generator().manual_seed(9)))


def test_an_arm_does_what_the_library_does(settings: dict[str, object]) -> None:
    recalibration, method = Recalibration(**settings), Recalibrate.from_bundle(**settings)  # type: ignore[arg-type]
    found = {name: recalibration.stage(name)({"image": picture(), "label": 0}) for name in ("shr", "rhm", "frerec")}
    assert torch.equal(torch.as_tensor(found["frerec"]["pred"]).clamp(0, 1), method(picture().as_tensor()))
    assert torch.equal(torch.as_tensor(found["shr"]["pred"]), torch.as_tensor(method.replace(picture())))
    with torch.inference_mode():
        expected = method.inferer(picture().as_tensor()[None], method.network)[0]
    assert torch.equal(torch.as_tensor(found["rhm"]["pred"]), expected.float())
    assert all(torch.equal(torch.as_tensor(f["image"]), picture().as_tensor()) for f in found.values())


def test_weights_and_settings_decide_the_fingerprint(settings: dict[str, object]) -> None:
    def prints(**changed: object) -> dict[str, str]:
        recalibration = Recalibration(**{**settings, **changed})
        return {name: fingerprint(recalibration.stage(name)) for name in ("shr", "rhm", "frerec")}

    base = prints()
    assert prints() == base
    assert len(set(base.values())) == 3
    stronger = prints(strength=0.6)
    assert stronger["shr"] != base["shr"]
    assert stronger["frerec"] != base["frerec"]


def test_an_unknown_stage_is_refused(settings: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="shr, rhm, frerec"):
        Stage(Recalibrate.from_bundle(**settings), "srh")  # type: ignore[arg-type]
