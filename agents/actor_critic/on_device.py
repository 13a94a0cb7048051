"""On-policy algorithms of stable-baselines3 whose rollouts stay on the device.

`class Mine(OnDeviceRollouts, TheirAlgorithm)` does it for any of them: `collect_rollouts` and the buffer are
in torch, all else (policy, `train`, `save`, `load`, callbacks, logger) is theirs. On a CPU the same seed gives
the same parameters as theirs, bit by bit.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from gymnasium import spaces
from sb3_contrib import TRPO
from stable_baselines3 import A2C, PPO
from stable_baselines3.common.buffers import RolloutBuffer
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from stable_baselines3.common.type_aliases import RolloutBufferSamples
from stable_baselines3.common.vec_env import VecEnv
from torch import Tensor

from sketchless.datasets.errors import ConfigError, unknown_name
from sketchless.envs.sb3_env import SketchVecEnv

SHUFFLES = ("auto", "numpy", "torch")
_BATCHED = ("observations", "actions", "values", "log_probs", "advantages", "returns")


class TensorRolloutBuffer(RolloutBuffer):
    """A `RolloutBuffer` of tensors on one device: S steps of B environments.

    Attributes are [S, B, ...], and [B * S, ...] once `get` was called, as in the base class.

    Args:
        buffer_size, observation_space, action_space, device, gae_lambda, gamma, n_envs: as for `RolloutBuffer`.
        shuffle: who orders the minibatches: `"numpy"`, the global generator that stable-baselines3 uses and
            seeds; `"torch"`, a generator of this buffer on its device, seeded as torch was; `"auto"`: numpy
            on a CPU, torch elsewhere.

    Raises:
        ConfigError: an unknown `shuffle`.
    """

    observations: Tensor  # type: ignore[assignment]
    actions: Tensor  # type: ignore[assignment]
    rewards: Tensor  # type: ignore[assignment]
    advantages: Tensor  # type: ignore[assignment]
    returns: Tensor  # type: ignore[assignment]
    episode_starts: Tensor  # type: ignore[assignment]
    log_probs: Tensor  # type: ignore[assignment]
    values: Tensor  # type: ignore[assignment]

    def __init__(
        self,
        buffer_size: int,
        observation_space: spaces.Space[Any],
        action_space: spaces.Space[Any],
        device: torch.device | str = "auto",
        gae_lambda: float = 1,
        gamma: float = 0.99,
        n_envs: int = 1,
        shuffle: str = "auto",
    ) -> None:
        if shuffle not in SHUFFLES:
            raise unknown_name("shuffle", shuffle, SHUFFLES)
        super().__init__(buffer_size, observation_space, action_space, device, gae_lambda, gamma, n_envs)
        self._generator: torch.Generator | None = None
        if shuffle == "torch" or (shuffle == "auto" and self.device.type != "cpu"):
            self._generator = torch.Generator(self.device).manual_seed(torch.initial_seed())

    def reset(self) -> None:
        self.observations, self.actions = self._zeros(*self.obs_shape), self._zeros(self.action_dim)
        self.rewards, self.episode_starts = self._zeros(), self._zeros()
        self.values, self.log_probs = self._zeros(), self._zeros()
        self.advantages, self.returns = self._zeros(), self._zeros()
        self.pos, self.full = 0, False
        self.generator_ready = False

    def _zeros(self, *shape: int) -> Tensor:
        # [S, B, ...], with an environment's steps side by side in memory: to flatten is no copy.
        shape = (self.n_envs, self.buffer_size, *shape)
        return torch.zeros(shape, dtype=torch.float32, device=self.device).transpose(0, 1)

    def add(
        self,
        obs: Tensor,  # type: ignore[override]
        action: Tensor,  # type: ignore[override]
        reward: Tensor,  # type: ignore[override]
        episode_start: Tensor,  # type: ignore[override]
        value: Tensor,
        log_prob: Tensor,
    ) -> None:
        """One step of all environments: [B, D], [B, d] and [B] (value: or [B, 1])."""
        self.observations[self.pos] = obs
        self.actions[self.pos] = action
        self.rewards[self.pos] = reward
        self.episode_starts[self.pos] = episode_start
        self.values[self.pos] = value.flatten()
        self.log_probs[self.pos] = log_prob
        self.pos += 1
        self.full = self.pos == self.buffer_size

    def compute_returns_and_advantage(self, last_values: Tensor, dones: Tensor) -> None:  # type: ignore[override]
        """Generalised advantages (Schulman et al., 2016), in the order of operations of the base class.

        Args:
            last_values: of the observations after the last step, [B] or [B, 1].
            dones: bool [B], whether episodes ended in the last step.
        """
        advantage = torch.zeros_like(self.values[0])
        going_on, next_values = 1.0 - dones.float(), last_values.flatten()
        for step in reversed(range(self.buffer_size)):
            # delta_t = r_t + gamma V(s_{t+1}) - V(s_t);  A_t = delta_t + gamma lambda A_{t+1}
            delta = self.rewards[step] + self.gamma * next_values * going_on - self.values[step]
            advantage = delta + self.gamma * self.gae_lambda * going_on * advantage
            self.advantages[step] = advantage
            going_on, next_values = 1.0 - self.episode_starts[step], self.values[step]
        returns = self.advantages + self.values
        self.values, self.returns = self.values.as_subclass(HostView), returns.as_subclass(HostView)

    def get(self, batch_size: int | None = None) -> Generator[RolloutBufferSamples, None, None]:
        assert self.full
        if not self.generator_ready:
            for name in _BATCHED:
                setattr(self, name, self.swap_and_flatten(getattr(self, name)))
            self.generator_ready = True
        if self._generator is None:
            yield from super().get(batch_size)
            return
        size = self.buffer_size * self.n_envs
        order = torch.randperm(size, generator=self._generator, device=self.device)
        for rows in order.split(batch_size or size):
            yield self._get_samples(rows)

    def _get_samples(self, batch_inds: Any, env: Any = None) -> RolloutBufferSamples:
        rows = torch.as_tensor(batch_inds, device=self.device)
        observations, actions, *numbers = (getattr(self, name).as_subclass(Tensor)[rows] for name in _BATCHED)
        return RolloutBufferSamples(observations, actions, *(number.flatten() for number in numbers))


class HostView(Tensor):
    """A tensor that numpy may read and compute on, wherever it lies; the same memory, so it costs nothing unread.

    For code that expects the arrays of stable-baselines3: `np.sum(dones)` in a callback, `np.var(returns)` at
    the end of `train`.
    """

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> npt.NDArray[Any]:
        array = self.as_subclass(Tensor).numpy(force=True)
        # numpy 1 does not know copy=None
        return np.asarray(array, dtype=dtype) if copy is None else np.array(array, dtype=dtype, copy=copy)

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        return function(*_as_array(args), **{name: _as_array(item) for name, item in kwargs.items()})


def _as_array(item: Any) -> Any:
    if isinstance(item, (list, tuple)):
        return type(item)(map(_as_array, item))
    return np.asarray(item) if isinstance(item, Tensor) else item


class _Ended(NamedTuple):
    """What one step ended; tensors [B] that count where `done`."""

    done: Tensor
    returns: Tensor
    lengths: Tensor
    success: Tensor
    seconds: float


class OnDeviceRollouts(OnPolicyAlgorithm):
    """Mixin before an on-policy algorithm: its rollouts stay on the device of a `SketchVecEnv`.

    Callbacks run at every step and find the same local variables, as tensors; `infos` are made when a callback
    first looks at them. `ep_info_buffer` and `ep_success_buffer` are brought up to date before
    `on_rollout_end`, not at every step: that would make the device wait.

    `save` leaves out the last observation, so a loaded agent begins with a reset. Files are those of the
    algorithm itself: it loads what its on-device version saved, and the other way round.

    Raises:
        ConfigError: an env that is not a `SketchVecEnv` (a wrapper works in numpy), or on another device.

    >>> from sketchless.envs.sb3_env import SketchVecEnv
    >>> agent = DevicePPO("MlpPolicy", SketchVecEnv(8, device="cpu"), n_steps=20, seed=0, device="cpu")
    >>> agent.learn(160).num_timesteps
    160
    """

    action_space: spaces.Box
    _last_obs: Any  # array [B, D] from a reset, tensor [B, D] within and after a rollout
    _last_episode_starts: Any

    def _setup_model(self) -> None:
        if self.rollout_buffer_class in (None, RolloutBuffer):
            self.rollout_buffer_class = TensorRolloutBuffer
        if self.env is not None:
            self._on_device(self.env)
        super()._setup_model()

    def _on_device(self, env: Any) -> SketchVecEnv:
        """The env, found fit for rollouts in tensors."""
        if not isinstance(env, SketchVecEnv):
            raise ConfigError(f"{type(env).__name__}: rollouts on the device need a SketchVecEnv without wrappers")
        here = torch.empty(0, device=self.device).device  # "cuda" as "cuda:0"
        if here != env.core.device:
            raise ConfigError(f"the agent is on {here}, its environment on {env.core.device}: pass device= to agree")
        return env

    def _maybe_recommend_cpu(self, mlp_class_name: str = "ActorCriticPolicy") -> None:
        """No advice against the GPU: it holds for rollouts in numpy."""

    def _excluded_save_params(self) -> list[str]:
        ours = ["rollout_buffer_class"] if self.rollout_buffer_class is TensorRolloutBuffer else []
        return [*super()._excluded_save_params(), "_last_obs", "_last_episode_starts", *ours]

    def collect_rollouts(
        self, env: VecEnv, callback: BaseCallback, rollout_buffer: RolloutBuffer, n_rollout_steps: int
    ) -> bool:
        """Fill the buffer with `n_rollout_steps` steps of every environment; False if a callback stopped it."""
        venv = self._on_device(env)
        assert isinstance(rollout_buffer, TensorRolloutBuffer)
        assert self._last_obs is not None
        obs_tensor = torch.as_tensor(self._last_obs, device=self.device)  # an array only after a reset
        starts = torch.as_tensor(self._last_episode_starts, device=self.device)
        box = self.action_space
        low, high = (torch.as_tensor(bound, device=self.device) for bound in (box.low, box.high))
        ended: list[_Ended] = []
        self.policy.set_training_mode(False)

        n_steps = 0
        rollout_buffer.reset()
        if self.use_sde:
            self.policy.reset_noise(env.num_envs)
        callback.on_rollout_start()

        while n_steps < n_rollout_steps:
            if self.use_sde and self.sde_sample_freq > 0 and n_steps % self.sde_sample_freq == 0:
                self.policy.reset_noise(env.num_envs)
            with torch.no_grad():
                actions, values, log_probs = self.policy(obs_tensor)
            if self.policy.squash_output:
                clipped_actions = low + 0.5 * (actions + 1.0) * (high - low)
            else:
                clipped_actions = actions.clamp(low, high)
            new_obs, rewards, dones, infos = venv.step_tensor(clipped_actions)
            self.num_timesteps += env.num_envs

            arrays = {"actions": actions, "clipped_actions": clipped_actions}
            arrays |= {"new_obs": new_obs, "rewards": rewards, "dones": dones}  # with stable-baselines3
            callback.update_locals(locals() | {name: each.as_subclass(HostView) for name, each in arrays.items()})
            if not callback.on_step():
                self._note_episodes(ended)
                return False
            ended.append(_Ended(dones, infos.returns, infos.lengths, infos.rank == 1, infos.seconds))
            n_steps += 1
            # Episodes terminate, so there is no value to add for those cut short.
            rollout_buffer.add(obs_tensor, actions, rewards, starts, values, log_probs)
            self._last_obs = obs_tensor = new_obs
            self._last_episode_starts = starts = dones

        with torch.no_grad():
            values = self.policy.predict_values(new_obs)
        rollout_buffer.compute_returns_and_advantage(last_values=values, dones=dones)
        self._note_episodes(ended)
        callback.update_locals(locals())
        callback.on_rollout_end()
        return True

    def _note_episodes(self, ended: list[_Ended]) -> None:
        """Put the last episodes that ended where the logger looks, in one copy: older ones it would forget."""
        assert self.ep_info_buffer is not None
        assert self.ep_success_buffer is not None
        if not ended:
            return
        tensors = zip(*(one[:4] for one in ended), strict=True)
        done, returns, lengths, success = (torch.stack(part).double() for part in tensors)  # [S, B]
        step, env = done.nonzero()[-self._stats_window_size :].unbind(1)
        columns = torch.stack([step.double(), returns[step, env], lengths[step, env], success[step, env]], dim=1)
        for at, total, length, succeeded in columns.tolist():
            self.ep_info_buffer.append({"r": total, "l": int(length), "t": ended[int(at)].seconds})
            self.ep_success_buffer.append(bool(succeeded))


class DevicePPO(OnDeviceRollouts, PPO):
    """`PPO` with rollouts on the device."""


class DeviceA2C(OnDeviceRollouts, A2C):
    """`A2C` with rollouts on the device."""


class DeviceTRPO(OnDeviceRollouts, TRPO):
    """`TRPO` (sb3-contrib) with rollouts on the device."""
