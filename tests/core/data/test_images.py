"""Pictures as URLs that hold them."""

import base64
import io

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from diptych.core.data import images


def opened(url):
    head, _, content = url.partition(",")
    assert head == "data:image/png;base64"
    return Image.open(io.BytesIO(base64.b64decode(content)))


def test_rows_of_pixels_become_pictures_large_enough_to_see():
    pixels = pd.DataFrame([[0, 16, 8, np.nan], [16, 0, 0, 99]])
    first, second = map(opened, images.of_pixels(pixels, (0, 16)))
    assert first.size == second.size == (images.SHOWN, images.SHOWN)
    corners = [(0, 0), (-1, 0), (0, -1), (-1, -1)]
    size = images.SHOWN
    values = [[x.getpixel((i % size, j % size)) for i, j in corners] for x in (first, second)]
    assert values == [[0, 255, 128, 0], [255, 0, 0, 255]]


def test_a_file_is_read_if_it_is_a_picture(tmp_path):
    path = tmp_path / "a.png"
    Image.new("L", (2, 2), 7).save(path)
    assert opened(images.of_file(path)).getpixel((0, 0)) == 7
    with pytest.raises(ValueError, match=r"passwd: is no picture; there are .png"):
        images.of_file("/etc/passwd")
    with pytest.raises(ValueError, match=r"none\.png: cannot be read"):
        images.of_file(tmp_path / "none.png")
    path.write_bytes(b"0" * 6_000_000)
    with pytest.raises(ValueError, match=r"has 6\.0 MB; make it smaller than 5 MB"):
        images.of_file(path)


def test_what_is_an_address_of_a_picture():
    assert images.is_picture("data:image/png;base64,AAAA")
    assert images.is_picture("https://models.example/a.png")
    assert not any(map(images.is_picture, ("a.png", "data:text/html,x", None, 3)))
