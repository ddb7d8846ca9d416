from dataclasses import fields, replace

import pytest
import torch
from torch import nn

from dal_toolbox.encoders import create_encoder
from dal_toolbox.features import encoder_digest


def test_every_field_is_in_the_key(spec):
    keys = {spec.key}
    for item in fields(spec):
        value = "float16" if item.name == "dtype" else "other"
        keys.add(replace(spec, **{item.name: value}).key)
    assert len(keys) == 1 + len(fields(spec))
    assert replace(spec).key == spec.key


def test_the_key_is_the_same_on_every_machine(spec):
    assert spec.key == "c2ee21cd60be9f96d4b447e9c32991f9"


def test_a_dtype_that_cannot_be_stored(spec):
    with pytest.raises(ValueError, match="dtype='bfloat16': choose one of float16"):
        replace(spec, dtype="bfloat16")


def test_the_digest_follows_weights_buffers_and_architecture(encoder):
    digest = encoder_digest(encoder)
    torch.manual_seed(0)
    assert encoder_digest(create_encoder("small", image_size=16)) == digest
    assert encoder_digest(encoder.eval()) == digest
    assert encoder_digest(encoder.to(memory_format=torch.channels_last)) == digest
    seen = {digest}
    with torch.no_grad():
        next(encoder.parameters())[0, 0, 0, 0] += 1e-3
        seen.add(encoder_digest(encoder))
        next(p for n, p in encoder.named_buffers() if "running_mean" in n)[0] += 1
        seen.add(encoder_digest(encoder))
    seen.add(encoder_digest(encoder.half()))
    seen.add(encoder_digest(encoder.bfloat16()))
    encoder.extra = nn.ReLU()
    seen.add(encoder_digest(encoder))
    encoder.recipe = {**encoder.recipe, "scale": 2}
    seen.add(encoder_digest(encoder))
    assert len(seen) == 7


def test_the_digest_does_not_ask_where_weights_came_from(encoder):
    digest = encoder_digest(encoder)
    encoder.recipe = {**encoder.recipe, "pretrained": True}
    assert encoder_digest(encoder) == digest
