"""Small pieces around environments and banks, to be put together at will.

What changes the problem changes the bank, as a function of banks: a longer gallery or lost frames then hold for every
shell, for whole episodes scored at once and for baselines that never see an environment; and nothing is paid per step.

>>> import gymnasium as gym
>>> from sketchless.encoders import EpisodeBank
>>> from sketchless.envs import drop_frames, with_distractors
>>> train, test = EpisodeBank.load("procedural", "train"), EpisodeBank.load("procedural", "test")
>>> bank = drop_frames(with_distractors(test, train), 0.1)
>>> envs = gym.make_vec("sketchless.envs:sketchless/OnTheFly-v0", num_envs=8, bank=bank, tensors=True)
>>> observation, info = ToNumpy(NormalizeReward(envs)).reset(seed=0)

Noise strokes are planted before anything is encoded (see `sketchless.envs.game.noise`):

    noisy = plant_noise(dataset, strokes=3, seed=0).dataset
    banks = encode_banks(encoder, noisy, schedule="strokes")  # draw its episodes with dataset=noisy
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from gymnasium.vector import AutoresetMode, VectorEnv, VectorWrapper
from torch import Tensor

from sketchless.datasets.errors import CheckpointError, ConfigError


class ToNumpy(VectorWrapper):
    """Numpy outside, torch inside: observations, rewards, flags and infos come as arrays of their own.

    For wrappers in tensors, such as our `NormalizeReward`, with gymnasium's around them. An environment made without
    `tensors=True` gives arrays by itself.
    """

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        arrays: tuple[Any, dict[str, Any]] = to_numpy(self.env.reset(seed=seed, options=options))
        return arrays

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        arrays: tuple[Any, Any, Any, Any, dict[str, Any]] = to_numpy(self.env.step(actions))
        return arrays


def to_numpy(value: Any) -> Any:
    """Tensors to fresh arrays, also within dicts, tuples and lists; anything else as it is."""
    if isinstance(value, Tensor):
        return value.detach().to("cpu", copy=True).numpy()
    if isinstance(value, dict):
        return {key: to_numpy(part) for key, part in value.items()}
    if isinstance(value, tuple | list):
        return type(value)(map(to_numpy, value))
    return value


class Moments(NamedTuple):
    """Running moments of a stream of numbers; begins as a grain of mean 0 and variance 1."""

    mean: Tensor  # float64 []
    variance: Tensor  # float64 []
    weight: Tensor  # float64 [], how many

    def merge(self, values: Tensor, counted: Tensor) -> Moments:
        """With `values` [B] added where `counted` bool [B] (Chan et al., 1979)."""
        n = counted.sum().double()
        mean = (values * counted).sum() / n.clamp_min(1)
        variance = ((values - mean).square() * counted).sum() / n.clamp_min(1)
        total, shift = self.weight + n, mean - self.mean
        squares = self.variance * self.weight + variance * n + shift.square() * self.weight * n / total
        return Moments(self.mean + shift * n / total, squares / total, total)


class NormalizeReward(VectorWrapper):
    """Rewards divided by the running standard deviation of the discounted return, on the device.

    reward / sqrt(variance + epsilon), with the numbers of `gymnasium.wrappers.vector.NormalizeReward` (also in that
    the reward that ends an episode is taken for a return by itself). But a return begins anew with every episode in
    every autoreset mode, so that all of them learn the same statistics. What `info` says of rewards stays as it is.

    Attributes:
        moments: of the returns so far.
        frozen: set True to evaluate: rewards are divided, nothing is learned.

    Args:
        env: whose observations and rewards are tensors (`tensors=True`).
        gamma: discount, 0..1.
        epsilon: above 0.

    Raises:
        ConfigError: gamma or epsilon out of range, or an environment of arrays.
    """

    def __init__(self, env: VectorEnv[Any, Any, Any], gamma: float = 0.99, epsilon: float = 1e-8) -> None:
        if not (0 <= gamma <= 1 and epsilon > 0):
            raise ConfigError(f"gamma={gamma}, epsilon={epsilon}: want gamma from 0 to 1 and epsilon above 0")
        super().__init__(env)
        self._want_tensors(not isinstance(env, ToNumpy))
        self.gamma, self.epsilon, self.frozen = gamma, epsilon, False
        self.moments = Moments(*torch.tensor([0.0, 1.0, 1e-4], dtype=torch.float64))
        self._returns = torch.zeros(self.num_envs, dtype=torch.float64)
        self._begins = torch.zeros(self.num_envs, dtype=torch.bool)  # whose next step only begins an episode

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> tuple[Tensor, dict[str, Any]]:
        observation, info = self.env.reset(seed=seed, options=options)
        self._want_tensors(isinstance(observation, Tensor))
        device, mask = observation.device, (options or {}).get("reset_mask", True)
        begun = torch.as_tensor(mask, device=device)
        self.moments = Moments(*(moment.to(device) for moment in self.moments))
        self._returns = self._returns.to(device).masked_fill(begun, 0)
        self._begins = self._begins.to(device) & ~begun
        return observation, info

    def step(self, actions: Any) -> tuple[Tensor, Tensor, Tensor, Tensor, dict[str, Any]]:
        observation, reward, terminated, truncated, info = self.env.step(actions)
        returns = self._returns * self.gamma * ~terminated + reward
        if not self.frozen:
            self.moments = self.moments.merge(returns, ~self._begins)
        ended = terminated | truncated
        self._returns = returns.masked_fill(ended, 0)
        if self.metadata.get("autoreset_mode") is AutoresetMode.NEXT_STEP:
            self._begins = ended
        return observation, reward / (self.moments.variance + self.epsilon).sqrt(), terminated, truncated, info

    @staticmethod
    def _want_tensors(given: bool) -> None:
        if not given:
            raise ConfigError(
                "NormalizeReward wants tensors: make environments with tensors=True, or take gymnasium's of that name"
            )

    def state_dict(self) -> dict[str, Tensor]:
        """The moments, as float64 tensors of no dimensions by name."""
        return {name: moment.clone() for name, moment in self.moments._asdict().items()}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Go on from what `state_dict` gave. Raises CheckpointError: something else."""
        known = self.moments._asdict()
        finite = all(isinstance(one, Tensor) and one.shape == () and one.isfinite() for one in state.values())
        if set(state) != set(known) or not finite or state["variance"] < 0 or state["weight"] < 0:
            raise CheckpointError(f"normalised rewards: want finite {', '.join(known)}, not {dict(state)}")
        self.moments = Moments(**{name: state[name].to(one, copy=True) for name, one in known.items()})
