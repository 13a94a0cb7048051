"""Pictures in a row as an animation."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image

from sketchless.datasets.errors import ConfigError
from sketchless.datasets.files import replacing


def gif(
    path: str | os.PathLike[str],
    frames: Sequence[npt.NDArray[np.uint8]],
    seconds: float = 0.4,
    hold: float = 2.0,
) -> None:
    """Write frames as an endless animated GIF.

    Args:
        path: where to; replaced only when the new file is whole.
        frames: uint8 [H, W, 3] each, all of one size. Equal neighbours are shown as one, for as long.
        seconds: each frame is shown, to 0.01 s.
        hold: the last frame is shown.

    Raises:
        ConfigError: no frames, other shapes, or `path` cannot be written. ResourceError: no room.
    """
    shapes = {np.shape(frame) for frame in frames}
    if len(shapes) != 1 or len(shape := shapes.pop()) != 3 or shape[2] != 3:
        raise ConfigError(f"{path}: an animation needs frames [H, W, 3] of one size")
    if not (0 < seconds < 600 and 0 < hold < 600):
        raise ConfigError(f"{path}: frames are shown for 0 to 600 s, not {seconds} and {hold}")
    # One palette for all keeps unchanged pixels unchanged, so that only what moves takes room. Index 255
    # stays free: the writer marks with it what a frame leaves as it was.
    sample = np.concatenate([*frames[:: max(1, len(frames) // 6)], frames[-1]])
    palette = Image.fromarray(sample).quantize(255, Image.Quantize.MEDIANCUT)
    images = [Image.fromarray(f).quantize(palette=palette, dither=Image.Dither.NONE) for f in frames]
    milliseconds = [round(100 * seconds) * 10] * (len(images) - 1) + [round(100 * hold) * 10]
    rest = images[1:]
    with replacing(path) as temporary:
        images[0].save(temporary, "GIF", save_all=True, append_images=rest, duration=milliseconds, loop=0)
