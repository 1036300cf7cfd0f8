"""Pictures as an address that holds them (a data URL), which prompts send to models that see."""

import base64
import io
import math
from pathlib import Path

import numpy as np
import pandas as pd

KINDS = {".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".webp": "image/webp",
         ".gif": "image/gif"}  # fmt: skip
SHOWN = 256  # pixels of a side, to which a small picture is enlarged: models cut it into patches
MOST_BYTES = 5_000_000  # of a file, which is what providers take


def data_url(content: bytes, kind: str = "image/png") -> str:
    """Return a picture's bytes as a URL."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def is_picture(value: object) -> bool:
    """Say whether a value is the address of a picture: a data URL, or one on the web."""
    return isinstance(value, str) and value.startswith(("data:image/", "http://", "https://"))


def of_file(path: str | Path) -> str:
    """Return the picture in a file as a URL.

    Raises
    ------
    ValueError
        If it is no picture by its name, is not there, or is too large.
    """
    path = Path(path).expanduser()
    if path.suffix.lower() not in KINDS:
        raise ValueError(f"{path}: is no picture; there are {', '.join(KINDS)}")
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ValueError(f"{path}: cannot be read ({error.strerror})") from error
    if len(content) > MOST_BYTES:
        size = len(content) / 1e6
        raise ValueError(f"{path}: has {size:.1f} MB; make it smaller than {MOST_BYTES / 1e6:g} MB")
    return data_url(content, KINDS[path.suffix.lower()])


def of_pixels(pixels: pd.DataFrame, bounds: tuple[float, float]) -> list[str]:
    """Return square grey pictures as URLs, from rows of their pixels.

    Parameters
    ----------
    pixels : DataFrame, shape (n, side * side)
    bounds : (float, float)
        The values of black and of white.
    """
    from PIL import Image

    side, (low, high) = math.isqrt(pixels.shape[1]), bounds
    grey = np.clip((pixels.to_numpy(float) - low) / (high - low), 0, 1) * 255
    grey = np.nan_to_num(grey).round().astype("uint8").reshape(-1, side, side)
    scale, urls = max(1, SHOWN // side), []
    for picture in grey.repeat(scale, axis=1).repeat(scale, axis=2):
        file = io.BytesIO()
        Image.fromarray(picture, "L").save(file, "PNG", optimize=True)
        urls.append(data_url(file.getvalue()))
    return urls
