from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from frerec.audit.neighbours import copy_check, nearest, thumbnail
from tests.audit.conftest import textures


def test_the_product_of_thumbnails_is_the_correlation() -> None:
    images = textures(range(2), 32)
    x = thumbnail(images)
    assert float(x[0] @ x[1]) == pytest.approx(np.corrcoef(images.flatten(1).numpy())[0, 1], abs=1e-5)
    assert thumbnail(torch.ones(1, 1, 40, 40)).norm() < 1e-2


def test_copies_are_found_however_they_were_touched_and_others_are_not() -> None:
    training, held_out, queries = textures(range(40), 64), textures(range(40, 80), 64), textures(range(80, 100), 64)
    source = training[7:8].numpy()
    random = np.random.default_rng(0)
    touched = {
        3: source,
        5: source[..., ::-1].copy(),
        8: source + 0.03 * random.standard_normal(source.shape),
        11: gaussian_filter(source, (0, 0, 1.5, 1.5)),
    }
    for index, image in touched.items():
        queries[index] = torch.from_numpy(image[0])
    found = copy_check(thumbnail(queries), thumbnail(training), thumbnail(held_out))
    assert set(found["suspects"]) == set(touched)
    assert all(int(found["nearest"][i]) == 7 for i in touched)
    assert found["held_out_maximum"] < found["threshold"] < 1


def test_a_duplicate_among_the_held_out_images_does_not_hide_copies() -> None:
    training, held_out = thumbnail(textures(range(40))), thumbnail(textures(range(40, 240)))
    held_out[0] = training[0]
    found = copy_check(training[:2], training, held_out)
    assert found["held_out_maximum"] == pytest.approx(1, abs=1e-5)
    assert found["suspects"] == [0, 1] or found["suspects"] == [1, 0]


@pytest.mark.parametrize("channels", [1, 3])
def test_nearest_equals_brute_force_over_both_directions(channels: int) -> None:
    images = textures(range(30 * channels)).view(30, channels, 48, 48)
    queries, references = thumbnail(images[:10]), thumbnail(images[10:])
    flipped = thumbnail(images[10:].flip(-1))
    wanted = torch.maximum(queries @ references.T, queries @ flipped.T).max(1)
    value, index = nearest(queries, references)
    assert torch.equal(index, wanted.indices)
    assert torch.allclose(value, wanted.values, atol=1e-6)


def test_chunks_do_not_change_the_result() -> None:
    queries, references = thumbnail(textures(range(9))), thumbnail(textures(range(9, 20)))
    whole, parts = nearest(queries, references), nearest(queries, references, chunk=2)
    assert torch.equal(whole[1], parts[1])
    assert torch.allclose(whole[0], parts[0], atol=1e-6)
