"""RLlib's PPO on the environment, for a few iterations with tiny settings.

python examples/rllib_ppo.py      (about half a minute; needs ray[rllib])
"""

from __future__ import annotations

import argparse
import sys
from typing import Any

import gymnasium as gym

try:
    import ray
    from ray.rllib.algorithms.ppo import PPOConfig
    from ray.rllib.core.rl_module.default_model_config import DefaultModelConfig
    from ray.tune.registry import register_env
except ImportError:
    sys.exit('this example needs RLlib: pip install "ray[rllib]"')


def make(config: dict[str, Any]) -> gym.Env[Any, Any]:
    return gym.make("sketchless.envs:sketchless/OnTheFly-v0", **config)


def train(iterations: int, seed: int = 0) -> list[float]:
    """Train for some iterations: mean 1/rank over the steps of each."""
    register_env("sketchless", make)
    config = (
        PPOConfig()
        # RLlib's policies begin with deviation 1, which is noise of length 8 in 64 dimensions; this scale makes
        # that about the length of the embedding.
        .environment("sketchless", env_config={"reward": "inv-rank", "scale": 0.15})
        .env_runners(num_env_runners=0, num_envs_per_env_runner=16)
        # A step's reward is that step's own doing: frames do not depend on actions.
        .training(gamma=0.0, lr=1e-3, train_batch_size_per_learner=3200, minibatch_size=400, num_epochs=4)
        .rl_module(model_config=DefaultModelConfig(fcnet_hiddens=[64]))
        .debugging(seed=seed, log_level="ERROR")
    )
    algorithm = config.build_algo()
    scores = []
    for iteration in range(iterations):
        told = algorithm.train()["env_runners"]
        scores.append(told["episode_return_mean"] / told["episode_len_mean"])
        print(f"iteration {iteration + 1}: mean 1/rank {scores[-1]:.3f} of the noisy policy", flush=True)
    algorithm.stop()
    return scores


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--iterations", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    train(given.iterations, given.seed)
    ray.shutdown()
