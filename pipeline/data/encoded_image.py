"""Decodes one encoded picture; the only file that imports Pillow."""

import io
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import ConfigError

Mode = Literal["RGB", "L"]

# Named, since some of Pillow's other readers start external programs.
_FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF")
MAX_PIXELS = 1 << 20
"""Of one picture: a few bytes may hold gigabytes, and a thousand rows are read at once."""
_EIGHT_BIT_MODES = ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr")


def decode_image(file: Path, mode: Mode, row: int, encoded: bytes) -> NDArray[np.uint8]:
    """The pixels, shape (C, H, W), of the picture in this row of the file.

    Raises:
        ConfigError: If it is damaged, of an unknown format, or has more than 8 bits a channel.
    """
    from PIL import Image

    try:
        with Image.open(io.BytesIO(encoded), formats=_FORMATS) as image:
            # Known from the head of the file: nothing is decoded yet.
            if image.width * image.height > MAX_PIXELS:
                raise ValueError(
                    f"{image.width}x{image.height} pixels, more than {MAX_PIXELS:,} in all"
                )
            stored = image.mode
            # Pillow clips 16-bit pixels at 255, which would pass for an overexposed picture.
            pixels = np.asarray(image.convert(mode)) if stored in _EIGHT_BIT_MODES else None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        reason = " ".join(str(error).split())
        raise ConfigError(
            f"{file}: row {row}: the image is damaged or of an unknown format ({reason}); "
            "repair the file or leave the row out"
        ) from None
    if pixels is None:
        raise ConfigError(
            f"{file}: row {row}: expected 8-bit pixels, got mode {stored}; convert the image"
        )
    channels_first = pixels.transpose(2, 0, 1) if pixels.ndim == 3 else pixels[None]
    return np.ascontiguousarray(channels_first)
