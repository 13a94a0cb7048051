"""The cooperative game of a selector of strokes and a refiner: its batched core, and noise strokes to find."""

from .core import Game, Position
from .noise import plant_noise

__all__ = ["Game", "Position", "plant_noise"]
