"""Why a photo was found for a sketch: where the network looks, and which patch answers which.

Lin et al., "Zero-Shot Everything Sketch-Based Image Retrieval, and in Explainable Style" (CVPR 2023), section
4.3: attention of the retrieval token, correspondences, synthesis. Here for every encoder that sees patches.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from sketchless.datasets.files import replacing
from sketchless.datasets.sketch import CANVAS
from sketchless.encoders.networks.correspondence import MapTokens, TokenModel, token_model
from sketchless.encoders.networks.encoder import Encoder, inference
from sketchless.encoders.networks.vit import Tokens

FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int64]
Picture = npt.NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Explanation:
    """One sketch and one photo, h x w and h' x w' patches; L patches of the sketch were kept by the network.

    Attributes:
        sketch, photo: uint8 [H, W, 3] and [H', W', 3], squeezed to squares as the network sees them, H = c h and
            so on: every patch is c x c pixels. Ink is black on white.
        sketch_attention, photo_attention: float32 [h, w] and [h', w'], each sums to 1; NaN where a patch was dropped.
        places: int64 [L, 2], row and column of each kept patch of the sketch, row by row.
        ink: bool [L], whether there is ink in it.
        matches: int64 [L, 2], row and column of the patch of the photo that answers it best.
        strength: float32 [L], their cosine, -1..1.
        synthesis: uint8 [H, W, 3], the sketch with each kept patch replaced by its photo patch; white elsewhere.
        score: cosine of the two embeddings, -1..1, by which the photo is ranked.
        alike: whether strengths and attention are of the feature map alone, not of what it adds to the embeddings.
    """

    sketch: Picture
    photo: Picture
    sketch_attention: FloatArray
    photo_attention: FloatArray
    places: IntArray
    ink: npt.NDArray[np.bool_]
    matches: IntArray
    strength: FloatArray
    synthesis: Picture
    score: float
    alike: bool = False

    def strongest(self, count: int | None = None) -> list[int]:
        """Rows of the patches with ink, strongest first; at most `count`."""
        order = np.argsort(-self.strength, kind="stable")
        return [int(i) for i in order if self.ink[i]][:count]

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write all arrays under their names into one `.npz`, without pickle. Raises ConfigError, ResourceError."""
        with replacing(path) as temporary, open(temporary, "wb") as file:
            arrays: dict[str, Any] = {f.name: np.asarray(getattr(self, f.name)) for f in fields(self)}
            np.savez_compressed(file, **arrays)


def explain(
    encoder: Encoder, frame: npt.NDArray[np.bool_], photo: Picture, model: TokenModel | None = None
) -> Explanation:
    """Explain how well a photo fits a sketch.

    Args:
        encoder: trained, on its device.
        frame: bool [256, 256], where the sketch has ink.
        photo: uint8 [H, W, 3], of any size.
        model: its tokens, `token_model(encoder)` by default.

    Raises:
        ConfigError: an encoder that sees no patches.
    """
    model = model or token_model(encoder)
    with inference(encoder):
        sketch_input = encoder.sketch_inputs(torch.from_numpy(frame).unsqueeze(0)).to(encoder.device)
        photo_input = encoder.photo_inputs([photo]).to(encoder.device)
        one, other = model.tokens(sketch_input), model.tokens(photo_input)
        cosine, best = model.match(one, other)[0].float().max(dim=1)
        embedding = encoder.embed(encoder.features(sketch_input))
        score = float((embedding * encoder.embed_photos(photo_input)).sum())
    places, matches = _places(one), _places(other)[best.cpu().numpy()]
    sketch, seen = (
        _squares(Image.fromarray(np.where(frame, np.uint8(0), np.uint8(255))), one.grid),
        _squares(Image.fromarray(photo), other.grid),
    )
    return Explanation(
        sketch=sketch,
        photo=seen,
        sketch_attention=_spread(one),
        photo_attention=_spread(other),
        places=places,
        ink=inked(frame, one.grid)[places[:, 0], places[:, 1]],
        matches=matches,
        strength=cosine.cpu().numpy(),
        synthesis=_synthesis(sketch.shape, seen, places, matches, one.grid, other.grid),
        score=score,
        alike=isinstance(model, MapTokens) and not model.pooled,
    )


def inked(frame: npt.NDArray[np.bool_], grid: tuple[int, int]) -> npt.NDArray[np.bool_]:
    """Which of the h x w patches of a frame bool [256, 256] have ink: bool [h, w]."""
    rows, columns = np.nonzero(frame)
    out = np.zeros(grid, dtype=bool)
    out[patch_of(rows, grid[0]), patch_of(columns, grid[1])] = True
    return out


def patch_of(pixel: npt.NDArray[np.int64], patches: int) -> npt.NDArray[np.int64]:
    """Row (or column) of the patch in which a row (or column) of the canvas lies, by its middle."""
    return ((2 * pixel + 1) * patches) // (2 * CANVAS)


def _places(tokens: Tokens) -> IntArray:
    """Rows and columns [L, 2] of the patches of the first image."""
    return np.stack(np.divmod(tokens.places[0].cpu().numpy(), tokens.grid[1]), axis=1)


def _spread(tokens: Tokens) -> FloatArray:
    """Attention of the first image at its places [h, w], NaN where there is no token."""
    out = np.full(tokens.grid, np.nan, dtype=np.float32)
    places = _places(tokens)
    out[places[:, 0], places[:, 1]] = tokens.attention[0].float().cpu().numpy()
    return out


def _squares(image: Image.Image, grid: tuple[int, int]) -> Picture:
    """A picture as squares of equal size, one a patch, about as large as the canvas."""
    side = -(-CANVAS // max(grid))
    size = (side * grid[1], side * grid[0])
    rgb = image.convert("RGB")
    return np.asarray(rgb if rgb.size == size else rgb.resize(size, Image.Resampling.LANCZOS))


def _synthesis(
    shape: tuple[int, ...],
    photo: Picture,
    places: IntArray,
    matches: IntArray,
    grid: tuple[int, int],
    photo_grid: tuple[int, int],
) -> Picture:
    side, other = shape[0] // grid[0], photo.shape[0] // photo_grid[0]
    out = np.full(shape, 255, dtype=np.uint8)
    for (row, column), (y, x) in zip(places.tolist(), matches.tolist(), strict=True):
        patch = photo[y * other : (y + 1) * other, x * other : (x + 1) * other]
        if other != side:
            patch = np.asarray(Image.fromarray(patch).resize((side, side), Image.Resampling.LANCZOS))
        out[row * side : (row + 1) * side, column * side : (column + 1) * side] = patch
    return out
