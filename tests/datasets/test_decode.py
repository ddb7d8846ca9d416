import numpy as np
import pytest
from PIL import Image

from dal_toolbox.datasets._decode import CorruptImage, decode, shorter_side
from dal_toolbox.errors import UserError

RGB = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)


def saved(tmp_path, image, name="image.png", **kwargs):
    path = tmp_path / name
    image.save(path, **kwargs)
    return path


def test_no_resampling_at_the_right_size(tmp_path):
    path = saved(tmp_path, Image.fromarray(RGB))
    assert (decode(path, 8) == RGB.transpose(2, 0, 1)).all()
    assert shorter_side(path) == 8


def test_center_square(tmp_path):
    wide = np.concatenate([np.zeros((8, 4, 3), np.uint8), RGB, np.zeros((8, 4, 3), np.uint8)], 1)
    assert (decode(saved(tmp_path, Image.fromarray(wide)), 8) == RGB.transpose(2, 0, 1)).all()


def test_shrinking_antialiases(tmp_path):
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::2] = 255
    shrunk = decode(saved(tmp_path, Image.fromarray(stripes)), 16)
    assert np.abs(shrunk.astype(int) - 127).max() < 20


def test_large_jpeg_agrees_with_its_full_decoding(tmp_path):
    ramp = np.linspace(0, 255, 512).astype(np.uint8)
    image = Image.fromarray(np.stack([np.tile(ramp, (512, 1))] * 3, axis=2))
    reduced = decode(saved(tmp_path, image, "a.jpg", quality=95), 32)
    full = np.asarray(image.resize((32, 32), Image.Resampling.BICUBIC)).transpose(2, 0, 1)
    assert np.abs(reduced.astype(int) - full).max() <= 3


def test_exif_orientation(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise
    path = saved(tmp_path, Image.fromarray(RGB), exif=exif)
    assert (decode(path, 8) == np.rot90(RGB, -1).transpose(2, 0, 1)).all()


@pytest.mark.parametrize("mode", ["L", "LA", "P", "1", "RGBA", "CMYK", "YCbCr", "I;16"])
def test_modes_become_rgb(tmp_path, mode):
    gray = Image.fromarray(RGB[:, :, 0])
    if mode == "I;16":
        image = Image.fromarray(RGB[:, :, 0].astype(np.uint16) * 257)
    else:
        image = (gray if mode in ("1", "LA") else Image.fromarray(RGB)).convert(mode)
    name = "a.jpg" if mode in ("CMYK", "YCbCr") else "a.png"
    pixels = decode(saved(tmp_path, image, name), 8)
    assert pixels.shape == (3, 8, 8)
    assert pixels.dtype == np.uint8
    if mode in ("LA", "I;16"):
        assert (pixels == RGB[:, :, 0]).all()
    if mode == "RGBA":
        assert (pixels == RGB.transpose(2, 0, 1)).all()


def test_16_bit_is_scaled(tmp_path):
    ramp = np.linspace(0, 65535, 64).astype(np.uint16).reshape(8, 8)
    pixels = decode(saved(tmp_path, Image.fromarray(ramp)), 8)
    assert (pixels[0] == np.rint(ramp / 257)).all()


def test_transparent_is_white(tmp_path):
    rgba = np.dstack([RGB, np.full((8, 8), 255, np.uint8)])
    rgba[:4, :, 3] = 0
    pixels = decode(saved(tmp_path, Image.fromarray(rgba)), 8)
    assert (pixels[:, :4] == 255).all()
    assert (pixels[:, 4:] == RGB.transpose(2, 0, 1)[:, 4:]).all()


def test_transparent_palette(tmp_path):
    image = Image.fromarray(np.array([[0, 1]], dtype=np.uint8).repeat(2, 0))
    image.putpalette([10, 20, 30, 40, 50, 60])
    path = saved(tmp_path, image, transparency=b"\x00\xff")
    assert decode(path, 2)[:, 0].tolist() == [[255, 40], [255, 50], [255, 60]]


@pytest.mark.parametrize("content", ["empty", "text", "truncated", "missing", "float"])
def test_what_cannot_be_decoded_is_named(tmp_path, content):
    path = tmp_path / "my cat.jpg"
    large = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(large).save(path)
    if content == "truncated":
        path.write_bytes(path.read_bytes()[:-800])
    elif content == "missing":
        path.unlink()
    elif content == "float":
        Image.fromarray(RGB[:, :, 0].astype(np.float32)).save(path, format="TIFF")
    else:
        path.write_text("" if content == "empty" else "no image")
    with pytest.raises(CorruptImage) as caught:
        decode(path, 8)
    message = str(caught.value)
    assert isinstance(caught.value, UserError)
    assert message.count(str(path)) == 1
    assert "\n" not in message
