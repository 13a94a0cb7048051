"""The environment in TorchRL: one episode as `GymEnv`, or many side by side, in tensors on a device, as `SketchEnv`.

python examples/torchrl_env.py      (a few seconds; needs torchrl)
"""

from __future__ import annotations

import sys
from typing import Any

import torch

from sketchless.encoders import EpisodeBank
from sketchless.envs import Core, State

try:
    from tensordict import TensorDict, TensorDictBase
    from tensordict.nn import TensorDictModule
    from torchrl.data import Binary, Bounded, Composite
    from torchrl.envs import EnvBase, GymEnv, check_env_specs
except ImportError:
    sys.exit("this example needs TorchRL: pip install torchrl")


class SketchEnv(EnvBase):
    """B episodes of a core: `observation` [B, D], `action` [B, d], `reward` and `terminated` [B, 1], `rank` [B, 1].

    After `set_seed(s)` row i plays the episodes of a single environment with seed s + i. `rank` is 0 at first.
    """

    def __init__(self, core: Core, num_envs: int) -> None:
        super().__init__(device=core.device, batch_size=[num_envs])
        self.core = core
        flag = Binary(1, (num_envs, 1), dtype=torch.bool)
        rank = Bounded(0, core.n_photos, (num_envs, 1), dtype=torch.int64)
        seen = Bounded(-1, 1, (num_envs, core.observation_dim), dtype=torch.float32)
        self.observation_spec = Composite(observation=seen, rank=rank, shape=[num_envs])
        self.action_spec = Bounded(-1, 1, (num_envs, core.action_dim), dtype=torch.float32)
        self.done_spec = Composite(done=flag, terminated=flag.clone(), shape=[num_envs])
        self.set_seed(0)

    def _set_seed(self, seed: int | None) -> None:
        first = int(torch.randint(2**62, ())) if seed is None else seed
        seeds = first + torch.arange(self.batch_size[0], device=self.core.device)
        self._state, self._begun = self.core.reset(seeds), False

    def _reset(self, tensordict: TensorDictBase | None, **_: Any) -> TensorDict:
        asked = None if tensordict is None else tensordict.get("_reset", None)
        zeros = torch.zeros_like(self._state.seed)
        if self._begun:
            self._state = self.core.next_episode(self._state, zeros == 0 if asked is None else asked.squeeze(1))
        self._begun = True
        return self._told(self._state, rank=zeros, done=zeros > 0)

    def _step(self, tensordict: TensorDictBase) -> TensorDict:
        outcome = self.core.step(self._state, tensordict["action"])
        self._state = outcome.state
        return self._told(self._state, rank=outcome.rank, done=outcome.terminated, reward=outcome.reward.float())

    def _told(self, state: State, **columns: torch.Tensor) -> TensorDict:
        told = {name: column.unsqueeze(1) for name, column in columns.items()}
        told |= {"observation": self.core.observe(state), "terminated": told["done"].clone()}
        return TensorDict(told, self.batch_size, self.device)


def main(num_envs: int = 256) -> TensorDictBase:
    """Check both environments with TorchRL's own check; play one episode in each row of `SketchEnv`."""
    core = Core(EpisodeBank.load("procedural", "train", "auto"))
    many = SketchEnv(core, num_envs)
    for env in (GymEnv("sketchless.envs:sketchless/OnTheFly-v0"), many):
        check_env_specs(env, break_when_any_done="both")
    policy = TensorDictModule(lambda x: x.new_zeros(num_envs, core.action_dim), ["observation"], ["action"])
    rollout = many.rollout(core.n_steps, policy)
    print(f"{rollout.numel()} steps of the baseline: mean 1/rank {(1 / rollout['next', 'rank']).mean():.3f}")
    return rollout


if __name__ == "__main__":
    main()
