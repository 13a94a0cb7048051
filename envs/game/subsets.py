"""Features of any subset of a sketch's strokes, encoded in batches and remembered.

A set of strokes is an integer: bit i stands for stroke i. The strokes of a sketch do not touch each other's ink,
but a feature of the whole picture is no sum over strokes: every set has to be drawn and encoded by itself.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence

import numpy as np
import torch
from torch import Tensor

from sketchless.datasets.checks import as_count
from sketchless.datasets.errors import ConfigError
from sketchless.datasets.raster import ByteArray, birth_map
from sketchless.datasets.sketch import Drawing, RasterSketch, Sketch
from sketchless.encoders.networks.encoder import Encoder, inference

_CHUNK = 32  # images encoded at a time

Key = tuple[int, int]  # sketch, set of strokes


def strokes_of(kept: int) -> list[int]:
    """Numbers of the strokes in a set, from 0, ascending."""
    return [i for i in range(kept.bit_length()) if kept >> i & 1]


def subsketch(sketch: Drawing, kept: int) -> Sketch:
    """The sketch with the strokes of a set alone, in their order; none at all is a blank page.

    Raises:
        ConfigError: a stroke that the sketch lacks, or a sketch of which only the picture is left.
    """
    if isinstance(sketch, RasterSketch):
        raise ConfigError(f"sketch {sketch.id!r} is a picture: it has no strokes to choose from")
    if not 0 <= kept < 1 << sketch.n_strokes:
        raise ConfigError(f"sketch {sketch.id!r} has {sketch.n_strokes} strokes: no set of them is {kept:#b}")
    chosen = np.zeros(sketch.n_strokes, dtype=bool)
    chosen[strokes_of(kept)] = True
    lengths = np.diff(np.flatnonzero(sketch.pen_up) + 1, prepend=0)
    points = np.repeat(chosen, lengths)
    return Sketch(sketch.points[points], sketch.pen_up[points], sketch.id)


def ink(sketch: Drawing, kept: int) -> ByteArray:
    """The page with the strokes of a set: uint8 [256, 256], ink 1 on 0. Raises as `subsketch`."""
    part = subsketch(sketch, kept)
    ink: ByteArray = (birth_map(part, [len(part)]) == 0).astype(np.uint8)
    return ink


class SubsetEncoder:
    """Frozen features of sets of strokes.

    On a CPU a feature is the same, bit for bit, whatever else was asked for before or beside it, so what is
    remembered cannot be told from what is encoded anew; on a GPU the two may differ by rounding.

    Args:
        encoder: from pixels to features; its device is where features are given.
        sketches: N drawings.
        capacity: sets remembered; beyond, the one unused for longest is forgotten. One takes D * 4 bytes.

    Raises:
        ConfigError: a capacity below 1.
    """

    def __init__(self, encoder: Encoder, sketches: Sequence[Sketch], capacity: int = 1 << 16) -> None:
        self.encoder, self.sketches, self.capacity = encoder, sketches, as_count("capacity", capacity, 1)
        self.encoded = 0  # images so far, to see what remembering saves
        self._known: OrderedDict[Key, Tensor] = OrderedDict()  # the one unused for longest comes first

    def __len__(self) -> int:
        """Sets remembered."""
        return len(self._known)

    def features(self, sketches: Iterable[int], kept: Iterable[int]) -> Tensor:
        """Features of sets `kept` of the sketches at those places, B of both: float32 [B, D], rows of length 1.

        Raises:
            ConfigError: a stroke that its sketch lacks.
        """
        keys = list(zip(sketches, kept, strict=True))
        found = {key: self._known[key] for key in keys if key in self._known}
        missing = [key for key in dict.fromkeys(keys) if key not in found]
        if len(missing) == 1:
            missing.append(self._guess(*missing[0]))
        for start in range(0, len(missing), _CHUNK):
            found |= self._encode(missing[start : start + _CHUNK])
        for key, feature in found.items():
            self._known[key] = feature
            self._known.move_to_end(key)
        while len(self._known) > self.capacity:
            self._known.popitem(last=False)
        return torch.stack([found[key] for key in keys])

    def _guess(self, sketch: int, kept: int) -> Key:
        """The set that will be asked for next if the drawing goes on and all is kept."""
        more = kept | 1 << kept.bit_length()
        return (sketch, more if more < 1 << self.sketches[sketch].n_strokes else kept)

    def _encode(self, keys: Sequence[Key]) -> dict[Key, Tensor]:
        pages = torch.from_numpy(np.stack([ink(self.sketches[sketch], kept) for sketch, kept in keys]))
        device = self.encoder.device
        images = self.encoder.sketch_inputs(pages.to(device))
        if len(images) == 1:
            # Never one alone: a batch of one runs through other kernels, and its last bits differ.
            images = images.repeat(2, 1, 1, 1)
        with inference(self.encoder):
            features = self.encoder.features(images).float()
        self.encoded += len(keys)
        # Copies: a view would keep its whole batch in memory.
        return {key: feature.clone() for key, feature in zip(keys, features, strict=False)}
