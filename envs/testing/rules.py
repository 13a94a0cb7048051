"""What the checks demand, and how they say that it does not hold."""

from __future__ import annotations

from typing import Any

RULES = {
    # check_vector_env
    "spaces": "the spaces are those of one environment, batched, and hold every observation",
    "types": "observations have the shapes and dtypes of their space, rewards are floats [B], flags bool [B]",
    "finite": "every number is finite",
    "memory": "no returned array shares memory with another one, with the actions or with the environment",
    "isolation": "what one environment plays, and when it begins anew, leaves the others as they are",
    "seeding": "seed s gives environment i the episodes of seed s + i, every time and whatever num_envs",
    "autoreset": "what follows the end of an episode is what metadata['autoreset_mode'] says",
    "single": "each environment plays what the single environment plays",
    # check_actions_matter
    "actions matter": "some action changes what is observed after it, or when the episode ends",
    "bandit": "no action changes what is observed after it, nor when the episode ends",
    # check_reward
    "reward numbers": "a reward is a tensor of finite real numbers, one for each rank, step or pair of taus",
    "reward inputs": "a reward leaves what it is given as it was",
    "reward repeats": "the same ranks or taus are paid the same every time",
    "reward elementwise": "what a rank or a step is paid does not depend on what else is asked about, nor on the order",
    "reward order": "a nearer rank is never paid less",
    "reward trajectory": "the trajectory part is never above 0 and never grows with the second tau",
    # check_causal, check_agent
    "actions": "a policy answers one frame or a batch by one finite action each, in the action space if it has one",
    "repeats": "the same frames are answered by the same actions every time",
    "causal": "no later frame changes an action",
    "learn": "learn returns the agent",
    "same seed": "two agents of one seed learn the same and act the same",
    "save and load": "a loaded agent acts as the saved one",
    "global random state": "python's, numpy's and torch's generators stay as they were",
    "not a number": "an observation that is not finite is refused, or answered by finite actions",
}
"""What each check demands, by the name with which the message of a `BrokenRule` begins."""


class BrokenRule(AssertionError):
    """`<rule>: <what it says>; <how it was broken>`."""

    @property
    def rule(self) -> str:
        """A key of `RULES`."""
        return str(self).partition(":")[0]


def demand(holds: Any, rule: str, how: str) -> None:
    if not holds:
        raise BrokenRule(f"{rule}: {RULES[rule]}; {how}")
