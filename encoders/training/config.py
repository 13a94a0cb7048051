"""Settings of stage 1."""

from __future__ import annotations

from dataclasses import dataclass

from sketchless.datasets.errors import ConfigError, unknown_name

from ..losses import LOSSES

PAIRS = ("instance", "category")
PRECISIONS = ("auto", "float32", "tf32", "bfloat16")
PERCENTAGES = tuple(str(percentage) for percentage in range(1, 100))


@dataclass(frozen=True)
class Stage1Config:
    """Settings of stage-1 training."""

    loss: str = "contrastive"
    """`contrastive` (in-batch softmax), `triplet` (margin 0.3, the paper's; zse: 1) or `triplet-squared` (of squared
    distances)."""
    frames: str = "complete"
    """`complete` sketches only (baseline B1), `random` frames as well (B2), or a percentage: of every sketch the frame
    that shows so much of it, such as `25` (a network of B3)."""
    complete_share: float = 0.3
    """With `random`: share of complete sketches among the training frames."""
    epochs: int = 30
    """Passes over the training sketches."""
    batch: int = 64
    """Pairs of a sketch and its photo per step, all processes together."""
    pairs: str = "instance"
    """A sketch goes with the photo it depicts (`instance`), or with any photo of its `category`."""
    learning_rate: float = 2e-3
    """Peak of the schedule: linear warm-up over the first tenth, then cosine to 0."""
    weight_decay: float = 1e-2
    """Of AdamW, per step and unit of the learning rate."""
    freeze: float = 0.0
    """Share of the backbone's blocks, from the input on, that keep their weights."""
    augment: float = 1.0
    """Strength of random rotation, scale and shift; 0 turns them off."""
    flip: bool = True
    """Mirror half of the pairs, sketch and photo alike."""
    removal: float = 0.0
    """Largest share of its strokes that a training sketch loses, late and short ones first; 0 turns it off."""
    deformation: float = 0.0
    """Strength of the smooth bending of training sketches; 0 turns it off, 1 moves corners by 8 px."""
    patience: int = 0
    """Stop after so many epochs without a better validation score; 0 runs all epochs."""
    precision: str = "auto"
    """`float32`, `tf32` (GPU only), `bfloat16` (mixed), or `auto`: bfloat16 on a GPU, float32 on a CPU."""
    seed: int = 0

    def __post_init__(self) -> None:
        if self.precision not in PRECISIONS:
            raise unknown_name("precision", self.precision, PRECISIONS)
        if self.loss not in LOSSES:
            raise unknown_name("loss", self.loss, LOSSES)
        if self.frames not in ("complete", "random", *PERCENTAGES):
            raise unknown_name("frames", self.frames, ("complete", "random", "<1 to 99, a percentage of the sketch>"))
        if self.pairs not in PAIRS:
            raise unknown_name("pairs", self.pairs, PAIRS)
        for name in ("epochs", "batch", "learning_rate"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"{name}={getattr(self, name)}: must be above 0")
        for name in ("weight_decay", "augment", "deformation", "patience", "seed"):
            if not getattr(self, name) >= 0:
                raise ConfigError(f"{name}={getattr(self, name)}: must be 0 or more")
        for name in ("complete_share", "freeze", "removal"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"{name}={getattr(self, name)}: must lie in 0..1")
        if self.batch < 2:
            raise ConfigError("batch=1: a batch needs a second pair as a negative")

    @property
    def percentage(self) -> int:
        """Of a sketch, what the frame shows that stage 1 trains on: 1..100; with `random`, of those not drawn anew."""
        return int(self.frames) if self.frames in PERCENTAGES else 100
