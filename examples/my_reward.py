"""A reward of one's own: paid for being first, docked for losing the place, and shaped by how near the photo is."""

from __future__ import annotations

from torch import Tensor

from sketchless.agents import make_agent
from sketchless.encoders import EpisodeBank
from sketchless.envs import Core, RewardScheme, Step, shaped
from sketchless.envs.testing import check_reward


def hold_the_lead(step: Step) -> Tensor:
    """1 at rank 1, -1/2 where the rank before was 1 and this one is not, else 0. -1/2..1."""
    first, was_first = step.rank == 1, step.previous_rank == 1
    return first.double() - 0.5 * (was_first & ~first).double()


def closeness(rank: Tensor, size: int) -> Tensor:
    """A potential: what a list is worth on the way to a first place. 0..1."""
    return (size - rank).double() / (size - 1)


LEAD = RewardScheme("hold-the-lead", hold_the_lead)
GUIDED = shaped(LEAD, closeness, gamma=0.0)  # the discount that the agent below learns with


def main(steps: int = 200_000) -> dict[str, tuple[float, float]]:
    """Validation m@B before and after, by reward."""
    scores = {}
    validation = EpisodeBank.load("procedural", "validation")
    for scheme in (LEAD, GUIDED):
        check_reward(scheme)
        core = Core(EpisodeBank.load("procedural", "train"), scheme)
        agent = make_agent("ppo-a-clip", core, validation=validation)
        agent.learn(steps)
        before, after = agent.history[0]["val_m_at_b"], max(look["val_m_at_b"] for look in agent.history)
        scores[scheme.name] = before, after
        print(f"{scheme.name}: m@B {before:.2f} -> {after:.2f}")
    return scores


if __name__ == "__main__":
    main()
