"""What all agents share: collect a batch, learn from it, validate, log, within a budget.

The drawing does not depend on the actions, so a rollout is a gather and its rewards are one matrix product:
whole episodes are scored at once, on the device (`Core.score`), for actor-only and actor-critic agents alike.
Everything that the host wants to know of an update it reads in one piece. So agents without a critic wait for the
device once an update, and once more in a pass over drawings of different lengths; in `Stop-v0` also to count the steps
of a rollout, as there actions end episodes, and where actions change what follows the policies `attention` and
`per-step` wait step by step. Agents with a critic wait dozens of times, inside stable-baselines3.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Generator, Iterable, Iterator, Mapping
from dataclasses import fields, replace
from typing import Any, ClassVar

import torch
from rich.progress import Progress
from torch import Tensor, nn
from typing_extensions import Self

from sketchless.datasets.errors import CheckpointError, ConfigError, DataError, unknown_name
from sketchless.encoders.bank import EpisodeBank
from sketchless.encoders.device import resolve_device
from sketchless.envs.core import Core, Score
from sketchless.envs.ranking import m_at_a

from .actor import Actor
from .batch import Batch, advantages, average, reward_to_go
from .callbacks import as_callback
from .checks import Numbers, checks, copied, fault, fault_of_batch, finite, read
from .choice import Best, Candidate
from .config import AgentConfig, decay, step_size
from .core_of import core_of
from .drawings import Drawings, training_fingerprint
from .gaussian import gaussian_entropy, gaussian_kl, gaussian_log_prob
from .policies.make import make_policy
from .pull import pull
from .settings import SYNONYMS


class Agent(Actor):
    """An agent shaped like stable-baselines3: `learn`, `predict`, `save`, `load`. Subclasses say `update`.

    Args:
        env: an environment of ours (single, vector or wrapped), or a `Core`; training draws on its bank.
        validation: bank by whose m@B the policy is chosen when training ends; without one the last is kept.
        config: all settings; keywords override single ones.
        device: must be where the env's core is; `"auto"` takes that.

    Attributes:
        policy: what acts.
        modules: all that is learned, by name, `policy` included; saved and restored.
        optimizers: by name; saved and restored.
        numbers: further state of the algorithm, such as a KL coefficient; saved and restored.

    Raises:
        ConfigError: an unknown or impossible setting, an env that is not ours or whose wrapper would be ignored.
    """

    presets: ClassVar[dict[str, AgentConfig]] = {"default": AgentConfig()}
    modes: ClassVar[dict[str, str]] = {}  # of the presets made for another mode than "residual"
    budgets: ClassVar[dict[str, float]] = {}  # of the presets made for a budget of their own: plays of each drawing
    rewarded: ClassVar[bool] = True  # whether what it learns depends on the reward
    varies_with_threads: ClassVar[bool] = False  # whether training on a CPU gives other last digits with more threads

    def __init__(
        self,
        env: Any,
        validation: EpisodeBank | None = None,
        config: Any = None,
        device: str | torch.device = "auto",
        **overrides: Any,
    ) -> None:
        self.check_settings(overrides)
        self.config = replace(config or self.presets["default"], **overrides)
        self.env = env
        self.core = core_of(env)
        self.check_task(type(self.core))
        if device != "auto" and resolve_device(device).type != self.core.device.type:
            raise ConfigError(f"device {device!r}: the environment computes on {self.core.device}; make both agree")
        self.device = self.core.device
        if self.config.learning_rate is None:
            self.config = replace(self.config, learning_rate=step_size(self.core.observation_dim, self.core.bandit))
        c = self.config
        self.policy = make_policy(c.policy, self.core, c.init_log_std, c.mean_norm, c.seed)
        self.policy.log_std.requires_grad_(c.train_log_std)
        self.start = [p.detach().clone() for p in self.policy.mean.parameters()]
        self.modules: dict[str, nn.Module] = {"policy": self.policy}
        self.optimizers: dict[str, torch.optim.Optimizer] = {}
        self.numbers: dict[str, float] = {}
        self.generator = torch.Generator(self.device).manual_seed(c.seed)
        self.drawings = Drawings(self.core.bank, self.generator)
        self.trained_on: str | None = None
        self.best, self.history = Best(), []
        self.num_timesteps = self.n_updates = 0
        self.budget = 1
        self.last_reward = math.nan
        self.recent_rewards: list[float] = []
        self._validation = None if validation is None else self._core_on(validation)
        self._sketches: list[int] = []  # of each validation photo
        if validation is not None:
            self._sketches = validation.targets.bincount(minlength=len(validation.gallery)).tolist()
        self._parameters = [p for p in self.policy.parameters() if p.requires_grad]
        self.rollout_means: dict[str, Tensor] = {}  # of the last batch, to be logged
        self.descents: list[Tensor] = []  # loss and norm of the gradient of each step of the update
        self.batch: Batch | None = None  # of the update
        self.setup()

    # What a subclass says --------------------------------------------------------------------------------

    @classmethod
    def check_settings(cls, names: Iterable[str]) -> None:
        """Raise ConfigError for a name that is no setting of the agent."""
        known = {f.name for f in fields(cls.Config)}
        for name in names:
            if name not in known:
                raise unknown_name(f"setting of {cls.name}:", name, known, SYNONYMS)

    @classmethod
    def check_task(cls, task: type[Core]) -> None:
        """Raise ConfigError for a task that the algorithm cannot learn. Here: it can learn every one."""

    def setup(self) -> None:
        """Make what the algorithm needs besides the policy. Here: one Adam for the policy."""
        self.optimizers["policy"] = torch.optim.Adam(self._parameters, lr=self.config.learning_rate, fused=True)

    def prepare(self) -> Iterator[None]:
        """What has to be learned before the first batch, in parts of which none takes long; nothing, once it is done.

        `learn` may be stopped between two parts; what is done by then has to be in modules, optimisers and numbers.
        """
        yield from ()

    def update(self, batch: Batch) -> Numbers:
        """Learn from one batch; returns what to log under `train/`. Raises DataError for a loss gone wrong."""
        raise NotImplementedError

    def adapt(self, logged: Mapping[str, float]) -> None:
        """Change `numbers` by what `update` returned, once that is known to be finite. Here: nothing."""

    # Collect ---------------------------------------------------------------------------------------------

    @torch.no_grad()
    def collect(self) -> Batch:
        """Play the next drawings; counts their steps."""
        sketches, frames = self.drawings.draw(self.config.episodes)
        if not self.core.bandit:
            return self._collect_episodes(sketches, frames)
        batch = self.rollout(sketches)
        self.num_timesteps += self.config.samples * frames
        return batch

    @torch.no_grad()
    def rollout(self, sketches: Tensor) -> Batch:
        """K actions in every state of drawings int64 [B], where no action changes what follows."""
        config, core = self.config, self.core
        observation = core.observations(sketches)
        mean, log_std = self.policy(observation), self.policy.log_std.detach().clone()
        shape = (config.samples, *mean.shape)
        # a_k ~ N(mu(s), diag(sigma^2)),  k = 1..K
        noise = torch.randn(shape, generator=self.generator, device=self.device, dtype=torch.float32)
        action = mean + noise * log_std.exp()
        score = core.score(sketches.repeat(config.samples), finite(action).flatten(0, 1), config.credit)
        reward, valid = score.reward.view(shape[:-1]), score.valid.view(shape[:-1])[0].double()
        self.collected(score)
        log_prob = gaussian_log_prob(action, mean, log_std)
        return Batch(sketches, observation, mean, log_std, action, log_prob, reward, valid)

    def collected(self, score: Score) -> None:
        """Remember what to log of a rollout."""
        shown = {"reward": score.reward, "reward_local": score.local, "reward_trajectory": score.trajectory}
        valid = score.valid.double()
        self.rollout_means = {name: average(x.double(), valid) for name, x in {**shown, "rank": score.rank}.items()}

    def _collect_episodes(self, sketches: Tensor, frames: int) -> Batch:
        """K whole episodes on each drawing, step by step, where actions change what follows."""
        config, core, log_std = self.config, self.core, self.policy.log_std.detach().clone()
        every = sketches.repeat(config.samples)
        observation, mean, action = self._played(core, every, log_std)
        score = core.score(every, action, config.credit)
        self.collected(score)
        self.num_timesteps += int(score.valid.sum()) if core.ends_early else config.samples * frames
        parts = (observation, mean, action, score.reward, score.valid.double())
        observation, mean, action, reward, valid = (x.unflatten(0, (config.samples, -1)) for x in parts)
        log_prob = gaussian_log_prob(action, mean, log_std)
        return Batch(sketches, observation, mean, log_std, action, log_prob, reward, valid)

    def _played(self, core: Core, sketches: Tensor, log_std: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """Observations, mean actions and actions [B, T, ...] of whole episodes; of means without `log_std`."""
        means: list[Tensor] = []
        memory: Tensor | None = None

        def act(seen: Tensor) -> Tensor:
            nonlocal memory
            mean, memory = self.policy.step(seen, memory)
            means.append(mean)
            if log_std is None:
                return finite(mean)
            noise = torch.randn(mean.shape, generator=self.generator, device=self.device, dtype=torch.float32)
            return finite(mean + noise * log_std.exp())

        observation, action = core.play(sketches, act)
        return observation, torch.stack(means, dim=1), action

    # Advantage -------------------------------------------------------------------------------------------

    @property
    def gamma(self) -> float:
        """Discount of what later steps pay."""
        found: float = self.config.discount(self.core.bandit)
        return found

    def returns(self, batch: Batch) -> Tensor:
        """What a step and, discounted, those after it pay: [K, B, T]."""
        return reward_to_go(batch.reward, self.gamma)

    def advantages(self, batch: Batch) -> Tensor:
        """[K, B, T], as the settings say."""
        c = self.config
        return advantages(self.returns(batch), batch.valid, c.advantage, c.normalize_advantage).float()

    def log_prob(self, batch: Batch) -> Tensor:
        """log pi(a|s) [K, B, T] of the batch under the policy as it is now."""
        return gaussian_log_prob(batch.action, self.policy(batch.observation), self.policy.log_std)

    # Step ------------------------------------------------------------------------------------------------

    @property
    def learning_rate(self) -> float:
        """Of this update: it decays over the whole budget."""
        rate: float = self.config.learning_rate * decay(self.config.lr_schedule, self.num_timesteps / self.budget)
        return rate

    def descend(self, loss: Tensor) -> dict[str, Tensor]:
        """One step of Adam down a loss, pulled towards B1 if the settings say so.

        Returns:
            `loss` and `grad_norm`, on the device. Where one of an update is not finite, `learn` undoes the whole of it
            and raises DataError.
        """
        self.optimizers["policy"].zero_grad(set_to_none=True)
        loss.backward()
        return self.step_down(loss.detach())

    def step_down(self, loss: Tensor) -> dict[str, Tensor]:
        """The step of `descend`, with the gradient of the loss in the parameters."""
        loss = self._pulled(loss)
        optimizer = self.optimizers["policy"]
        for group in optimizer.param_groups:
            if not isinstance(group["lr"], Tensor):  # else a CUDA graph reads it, which fills it beforehand
                group["lr"] = self.learning_rate
        norm = torch.nn.utils.clip_grad_norm_(self._parameters, self.config.max_grad_norm)
        optimizer.step()
        found = {"loss": loss, "grad_norm": norm}
        self.descents.append(torch.stack([value.double() for value in found.values()]))
        return found

    @torch.enable_grad()
    def _pulled(self, loss: Tensor) -> Tensor:
        """The loss with what pulls towards B1, whose gradient joins those in the parameters."""
        more = pull(self.config, self.policy, self.start, self.core, self.batch)
        if more is None:
            return loss
        more.backward()
        return loss + more.detach()

    def gone_wrong(self, what: str) -> DataError:
        return DataError(f"update {self.n_updates + 1}: {what}; stopped, the policy before it is kept")

    # Train -----------------------------------------------------------------------------------------------

    def learn(
        self,
        total_timesteps: int,
        callback: Any = None,
        log_interval: int | None = 1,
        tb_log_name: str = "",
        reset_num_timesteps: bool = True,
        progress_bar: bool = False,
    ) -> Self:
        """Train for a number of environment steps (drawings x frames x samples).

        Args:
            total_timesteps: budget; a run that goes on (`reset_num_timesteps=False`) must be given the whole
                of it again, as the learning rate decays over it.
            callback: as in stable-baselines3, but for those that count environments or look into its rollouts;
                `on_step` is called once per update, and between the parts of `prepare`. Returning False stops and,
                before the budget is spent, leaves the policy as it is, so that training can go on.
            log_interval: updates between two dumps of the logger; None: only when `dump_logs` is called.
            tb_log_name: taken as in stable-baselines3, without effect: `set_logger` says where to log.
            reset_num_timesteps: begin counting anew.
            progress_bar: show one, by `rich`.

        Raises:
            ConfigError: a budget that is not above 0, or a discount that the credit does not allow.
            CheckpointError: a loaded agent goes on with another bank or reward than it was trained on.
            DataError: a reward, observation, loss, gradient or weight that is not finite; the policy of the last
                update is kept.
        """
        given = (total_timesteps, callback, log_interval, reset_num_timesteps, progress_bar)
        with contextlib.closing(self.course(*given)) as course:
            for turn in course:
                if turn == "collect":
                    batch = self.collect()
                else:
                    with self.updating(batch):
                        self.note(read(self.found(batch, self.update(batch), log_interval)))
        return self

    def course(
        self,
        total_timesteps: int,
        callback: Any = None,
        log_interval: int | None = 1,
        reset_num_timesteps: bool = True,
        progress_bar: bool = False,
    ) -> Generator[str, None, None]:
        """`learn` without the learning: says when to `"collect"` and when to `"update"`, and does all the rest.

        So may somebody else do both for many agents at a time.
        """
        if total_timesteps <= 0:
            raise ConfigError(f"total_timesteps={total_timesteps}: must be above 0")
        self.config.discount(self.core.bandit)  # refuses credit that would count thrice
        self._begin_on(training_fingerprint(self.core), reset_num_timesteps)
        if reset_num_timesteps:
            self.num_timesteps = self.n_updates = 0
            self.best, self.history, self.recent_rewards = Best(), [], []
        self.budget = total_timesteps
        callback = as_callback(callback)
        callback.init_callback(self)
        callback.on_training_start(locals(), globals())
        if self._validation is not None and not self.history:
            self._note_validation(read(self._validated(self._validation)))
        with Progress(disable=not progress_bar) as bar:
            task = bar.add_task(self.name, total=total_timesteps, completed=self.num_timesteps)
            going = all(callback.on_step() for _ in self.prepare())
            start, before = time.perf_counter(), self.num_timesteps
            while going and self.num_timesteps < total_timesteps and not self._stalled():
                callback.on_rollout_start()
                yield "collect"
                callback.on_rollout_end()
                yield "update"
                fps = (self.num_timesteps - before) / max(time.perf_counter() - start, 1e-9)
                self.logger.record("time/fps", int(fps))
                if log_interval is not None and self.n_updates % log_interval == 0:
                    self.dump_logs()
                callback.update_locals(locals())
                going = callback.on_step()
                bar.update(task, completed=self.num_timesteps)
        # A callback that says stop in the very update that spends the budget interrupts nothing.
        if (going or self.num_timesteps >= total_timesteps) and self._validation is not None:
            self._note_validation(read(self._validated(self._validation)))
            self.policy.load_state_dict(self.best.kept.weights)
        callback.on_training_end()

    def _begin_on(self, here: str, anew: bool) -> None:
        """Note what is trained on. Raises CheckpointError if a run that goes on began elsewhere."""
        # Files of version 0.1.0 may not say what the reward pays.
        if self.trained_on is not None and not here.startswith(self.trained_on):
            if not anew:
                raise CheckpointError(
                    f"{self.name} was trained on {self.trained_on}, the environment has {here}; "
                    "make that one to go on, or begin anew with reset_num_timesteps=True"
                )
            self.drawings.clear()
        self.trained_on = here

    @contextlib.contextmanager
    def updating(self, batch: Batch) -> Iterator[None]:
        """An update goes inside; where that raises, all is as before it."""
        parts: list[Any] = [*self.modules.values(), *self.optimizers.values()]
        states, numbers = [copied(part.state_dict()) for part in parts], dict(self.numbers)
        self.descents, self.batch = [], batch
        try:
            yield
        except BaseException as error:
            for part, state in zip(parts, states, strict=True):
                part.load_state_dict(state)
            self.numbers = numbers
            if isinstance(error, Exception) and (wrong := fault_of_batch(batch, self.core.bank)):
                raise self.gone_wrong(wrong) from error
            raise

    def found(self, batch: Batch, logged: Numbers, log_interval: int | None) -> Numbers:
        """What the host wants to know of an update, to be `read`: checks, what to log, validation where it is due."""
        return {
            **checks(batch, self.descents, self.modules.values()),
            **self._shown(batch, log_interval),
            **{f"train/{name}": value for name, value in logged.items()},
        }

    def note(self, found: Mapping[str, float]) -> None:
        """Take in what was `found`, once read. Raises DataError where something is not finite."""
        if wrong := fault(found):
            raise self.gone_wrong(wrong)
        self.adapt({name.removeprefix("train/"): value for name, value in found.items()})
        self.n_updates += 1
        self.last_reward = found["rollout/reward"]
        self.recent_rewards.append(self.last_reward)
        if "eval/m_at_b" in found:
            self._note_validation(found)
        for name, value in found.items():
            if not name.startswith(("check/", "photo/")):
                self.logger.record(name, value)

    # Validation and log ----------------------------------------------------------------------------------

    def validate(self, core: Core) -> tuple[float, float]:
        """m@A and m@B, 0..100, of the mean action on all drawings of a core."""
        found = read(self._validated(core))
        return found["eval/m_at_a"], found["eval/m_at_b"]

    @torch.no_grad()
    def _validated(self, core: Core) -> dict[str, Tensor]:
        sketches = torch.arange(len(core.bank), device=self.device)
        if core.bandit:
            action = finite(self.policy(core.observations(sketches)))
        else:
            _, _, action = self._played(core, sketches)
        score = core.score(sketches, action)
        a, b = m_at_a(score.rank, score.valid, core.n_photos), core.value(score)
        found = {"eval/m_at_a": a.mean(), "eval/m_at_b": b.mean()}
        if self.config.choice != "best":
            photos = torch.arange(len(core.bank.gallery), device=self.device).unsqueeze(1)
            by_photo = (core.bank.targets == photos).double() @ b  # [G]
            found |= {f"photo/{i}": value for i, value in enumerate(by_photo)}
        return found

    def _note_validation(self, found: Mapping[str, float]) -> None:
        """Remember the best policy, and those that are level with it."""
        area_a, area_b = found["eval/m_at_a"], found["eval/m_at_b"]
        if area_b > self.best.m_at_b:
            weights = {k: v.detach().clone() for k, v in self.policy.state_dict().items()}
            by_photo = tuple(value for name, value in found.items() if name.startswith("photo/"))
            self.best = self.best.improved(Candidate(area_b, self.num_timesteps, weights, by_photo), self._sketches)
        else:
            self.best.stale_evals += 1
        look = {"timesteps": self.num_timesteps, "val_m_at_a": area_a, "val_m_at_b": area_b}
        self.logger.record("eval/m_at_a", area_a)
        self.logger.record("eval/m_at_b", area_b)
        rewards = self.recent_rewards or [self.last_reward]
        reward, self.recent_rewards = sum(rewards) / len(rewards), []
        self.history.append(look if math.isnan(reward) else look | {"reward": reward})

    def _core_on(self, bank: EpisodeBank) -> Core:
        return self.core.over(bank.to(self.device), "inv-rank")

    def _stalled(self) -> bool:
        return bool(0 < self.config.patience <= self.best.stale_evals)

    @torch.no_grad()
    def _shown(self, batch: Batch, log_interval: int | None) -> dict[str, Any]:
        """What to log, the same keys for every agent: how far the update went, and what it left."""
        found: dict[str, Any] = {f"rollout/{name}": value for name, value in self.rollout_means.items()}
        update = self.n_updates + 1
        if self._validation is not None and update % self.config.eval_every == 0:
            found |= self._validated(self._validation)
        if not self.logger.output_formats or (log_interval is not None and update % log_interval):
            return found
        mean, log_std = self.policy(batch.observation), self.policy.log_std
        ratio = gaussian_log_prob(batch.action, mean, log_std) - batch.log_prob
        moved = (ratio.expm1().abs() > 0.2).double()
        return found | {
            "train/approx_kl": average(gaussian_kl(batch.mean, batch.log_std, mean, log_std), batch.valid),
            "train/clip_fraction": average(moved, batch.valid),
            "train/entropy": gaussian_entropy(log_std),
            "train/std": log_std.exp().mean(),
            "train/learning_rate": self.learning_rate,
            "train/n_updates": update,
        }
