"""Training samples of the restoration flow."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform, RandomizableTransform

from frerec.rhm.flow import RestorationFlow


class RandFlowSamplesd(RandomizableTransform, MapTransform):
    """Points on the lines from stage 1's output to the real image, and the velocity there, cropped.

    Whole images are whitened, because the transform needs their spectrum; then crops are cut, because the network does
    not. Times are drawn logit-normally, a little more often near the noise, where the velocity is hardest to tell (P.
    Esser et al., 2024).

    Args:
        keys: key of stage 1's outputs (C, *spatial); one.
        flow: the network to train, for its whitening.
        crop_size: size of the crops, even, cut down where the image is smaller.
        num_samples: crops of each image.
        target_key: key of the real image.
        condition_key: key of (mask ratio, transition, strength), which gets the time in front.
    """

    def __init__(
        self,
        keys: KeysCollection,
        flow: RestorationFlow,
        crop_size: Sequence[int] = (64, 64),
        num_samples: int = 4,
        target_key: str = "label",
        condition_key: str = "condition",
    ) -> None:
        MapTransform.__init__(self, keys)
        RandomizableTransform.__init__(self)
        self.flow, self.crop_size, self.num_samples = flow, tuple(crop_size), num_samples
        self.target_key, self.condition_key = target_key, condition_key

    def __call__(self, data: Mapping[Hashable, Any]) -> list[dict[Hashable, torch.Tensor]]:
        """Return one dictionary per crop: network input under the key, velocity under ``target_key``, the condition."""
        key = self.keys[0]
        ends = torch.stack([torch.as_tensor(data[key]).float(), torch.as_tensor(data[self.target_key]).float()])
        with torch.no_grad():
            states, contexts = self.flow.whiten(getattr(ends, "as_tensor", lambda: ends)())
        velocity, samples = states[0] - states[1], []
        for _ in range(self.num_samples):
            time = 1 / (1 + float(torch.exp(torch.tensor(-1.2 * self.R.normal() - 0.2))))
            window = [slice(None)]
            for n, side in zip(states.shape[2:], self.crop_size, strict=True):
                corner = int(self.R.randint(max(n - side, 0) + 1))
                window.append(slice(corner, corner + side))
            place = tuple(window)
            sample = [torch.cat([states[1] + time * velocity, contexts[0]])[place], velocity[place]]
            if self.R.uniform() < 0.5:
                sample = [part.flip(-1) for part in sample]
            condition = torch.cat([torch.tensor([time]), torch.as_tensor(data[self.condition_key]).float()])
            samples.append({key: sample[0].clone(), self.target_key: sample[1].clone(), self.condition_key: condition})
        return samples
