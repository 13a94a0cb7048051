"""Which policy of a training is kept: the best on the validation drawings, or an earlier one as good for all they say.

References:
    - Breiman, Friedman, Olshen and Stone (1984), Classification and regression trees, section 3.4.3: the one-standard-
      error rule.
    - Liang and Zeger (1986), Longitudinal data analysis using generalized linear models: standard errors of clusters.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from torch import Tensor

CHOICES = ("best", "one-se")


@dataclass(frozen=True)
class Candidate:
    """A policy that validated better than all before it.

    Attributes:
        m_at_b: on the validation drawings, 0..100; the mean over sketches.
        timesteps: environment steps that it had learned from.
        weights: of the policy, by name.
        by_photo: m@B summed over the sketches of each photo, [G]; empty where the choice does not ask for it.
    """

    m_at_b: float
    timesteps: int
    weights: Mapping[str, Tensor]
    by_photo: Sequence[float] = ()

    def level_with(self, other: Candidate, sketches: Sequence[int]) -> bool:
        """Whether another one's lead is one standard error at most; `sketches` [G]: how many depict each photo.

        They are paired by sketch. False where nothing is known by photo, or of other photos.
        """
        if not len(self.by_photo) == len(other.by_photo) == len(sketches):
            return False
        lead = np.subtract(other.by_photo, self.by_photo)
        return bool(lead.sum() / sum(sketches) <= standard_error(lead, sketches))


@dataclass
class Best:
    """The best policy so far by validation m@B, and those before it that are still level with it.

    Each was the best in its turn. One that falls behind is dropped, and does not come back when the best changes again.
    """

    candidates: list[Candidate] = field(default_factory=list)  # in the order of training
    stale_evals: int = 0  # evaluations without improvement

    @property
    def m_at_b(self) -> float:
        """Of the best."""
        return self.candidates[-1].m_at_b if self.candidates else -math.inf

    @property
    def kept(self) -> Candidate:
        """The earliest of those that are level, which is the best itself where none is."""
        return self.candidates[0]

    def improved(self, by: Candidate, sketches: Sequence[int]) -> Best:
        """With a better one."""
        return Best([*(one for one in self.candidates if one.level_with(by, sketches)), by])


def standard_error(sums: npt.ArrayLike, sketches: Sequence[int]) -> float:
    """Of a mean over sketches whose photos were drawn at random: infinite for one photo, which says nothing of others.

    Args:
        sums: of the values of each photo's sketches, [G].
        sketches: how many those are, [G]; photos without any are none.
    """
    values, size = np.asarray(sums, dtype=np.float64), np.asarray(sketches, dtype=np.float64)
    photos = int((size > 0).sum())
    if photos < 2:
        return math.inf
    # sqrt(P/(P-1) sum_p (s_p - n_p mean)^2) / N
    rest = values - size * values.sum() / size.sum()
    return math.sqrt(photos / (photos - 1) * float(rest @ rest)) / float(size.sum())
