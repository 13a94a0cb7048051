"""The sketching episode, written once: pure functions on batched tensors.

Every shell (Gymnasium, vector, trainer) calls this and adds no arithmetic of its own.

Letters: B episodes side by side, T steps, G gallery photos, D width of a feature, d width of an embedding.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from sketchless.datasets.errors import ConfigError, unknown_name
from sketchless.encoders.bank import EpisodeBank

from .inputs import as_scale
from .ranking import (
    count_rank,
    described,
    m_at_b,
    not_finite,
    ranking_after,
    refine,
    similarity,
    tau_along,
    unit,
)
from .rewards import GALLERY, LISTS, PAST, Local, RewardScheme, Step, make_reward
from .sharding import ShardedGallery

MODES = ("residual", "absolute")
OBSERVATIONS = ("feature", "embedding")
CREDITS = ("aligned", "summed", "online")
_CPU_BYTES, _DEVICE_BYTES = 1 << 24, 1 << 31  # of similarities that `score` holds at a time; fresh pages are dear

Play = Callable[[Tensor], Tensor]  # observations [B, D] of one step to actions [B, d]


class State(NamedTuple):
    """Where B episodes stand. `seed` and `episode` name the episode: they alone choose its sketch."""

    seed: Tensor  # int64 [B]
    episode: Tensor  # int64 [B], from 0
    sketch: Tensor  # int64 [B], row in the bank
    step: Tensor  # int64 [B], frame on show, from 0
    ranking: Tensor  # int32 [B, G], list of the previous step; [B, 0] for rewards that compare no lists
    tau: Tensor  # float64 [B], distance between the lists of the two steps before
    rank: Tensor  # int64 [B], of the previous step; kept up for rewards that read the past
    best_rank: Tensor  # int64 [B], of all previous steps; likewise
    carry: Tensor  # float64 [B, d], what previous actions left; [B, 0] where they leave nothing


class Terms(NamedTuple):
    """What one step pays, by part."""

    local: Tensor  # float64 [B], for the rank of this step
    trajectory: Tensor  # float64 [B], the trajectory reward around the previous step


class Transition(NamedTuple):
    """What one step gives."""

    state: State
    reward: Tensor  # float64 [B]
    terminated: Tensor  # bool [B]
    rank: Tensor  # int64 [B]
    terms: Terms
    similarity: Tensor  # float64 [B, G], how near each photo was in this step; [B, 0] for a gallery in parts


class Score(NamedTuple):
    """What whole episodes give; zero beyond an episode's length."""

    rank: Tensor  # int64 [B, T]
    tau: Tensor  # float64 [B, T-1], between steps t and t+1
    reward: Tensor  # float64 [B, T]
    local: Tensor  # float64 [B, T]
    trajectory: Tensor  # float64 [B, T]
    valid: Tensor  # bool [B, T]


class Core:
    """Episodes over one bank.

    Args:
        bank: features, targets and gallery; its device is the core's.
        reward: name, function or `RewardScheme`.
        mode: `"residual"`: embedding = normalise(b + scale * a), with b the frozen stage-1 embedding, so the
            zero action is the baseline; `"absolute"` (the paper's): embedding = normalise(a).
        observation: `"feature"` [D] or `"embedding"` [d].
        scale: of a residual action, in units of the embedding it refines, which has length 1.
        gallery: photos to rank in place of the bank's, for rewards of nothing but ranks; `bank.targets`
            are its rows, so it begins with the bank's photos and goes on with any others. If it lies on several
            processes, all of them make their core together: each looks whether its photos are the bank's.

    Raises:
        ConfigError: unknown mode, observation or reward, a scale that is not above 0, a reward that is not
            a finite number for every rank, that reads what a `Step` does not have, or that needs more of `gallery`
            than ranks; a gallery of another width, or one that lacks a photo that a sketch depicts, or has another
            one in its row.
    """

    task: ClassVar[str] = "on-the-fly"
    bandit: ClassVar[bool] = True
    """Whether no action changes what comes after: neither what is observed nor when an episode ends."""
    ends_early: ClassVar[bool] = False
    """Whether an action may end an episode before its drawing is complete."""
    modes: ClassVar[tuple[str, ...]] = MODES
    """Those that the task has."""

    def __init__(
        self,
        bank: EpisodeBank,
        reward: str | Local | RewardScheme = "combined",
        mode: str = "residual",
        observation: str = "feature",
        scale: float = 1.0,
        gallery: ShardedGallery | None = None,
    ) -> None:
        if mode not in MODES:
            raise unknown_name("mode", mode, MODES)
        if observation not in OBSERVATIONS:
            raise unknown_name("observation", observation, OBSERVATIONS)
        self.bank, self.mode, self.observation = bank, mode, observation
        self.reward = make_reward(reward)
        self.scale = as_scale(scale)
        self.device = bank.features.device
        self.gallery = unit(bank.gallery)  # [G, d], of the bank
        self.parts = gallery
        self._reads = reads = self.reward.reads(self.n_photos)
        self._compares = self.reward.trajectory is not None or not reads.isdisjoint(LISTS)
        self._remembers = not reads.isdisjoint(PAST)
        if gallery is not None:
            if self._compares or not reads.isdisjoint(GALLERY):
                name = self.reward.name
                raise ConfigError(
                    f"reward {name!r} compares whole lists, and a gallery in parts gives ranks: choose inv-rank"
                )
            self._check_photos(gallery)
        parts = bank.features.split(64)  # float64, but not all features at once
        self.base = torch.cat([unit(bank.embed(part)) for part in parts])  # [N, T, d]
        frames = bank.features if observation == "feature" else self.base.float()  # [N, T, D or d]
        # Rounding may carry a coordinate of a unit vector out of the box.
        low, high = frames.aminmax()
        self.frames = frames if low >= -1 and high <= 1 else frames.clamp(-1, 1)
        # Of rank r at r - 1; None for a reward that reads more.
        self._reward_table = self.reward.table(self.n_photos, self.device) if reads <= {"rank"} else None

    @property
    def settings(self) -> dict[str, Any]:
        """Task, mode, observation, scale and what the task has beside: with bank and reward, the same elsewhere."""
        same = {"task": self.task, "mode": self.mode, "observation": self.observation, "scale": self.scale}
        return same | self.own_settings

    @property
    def rows_at_once(self) -> int:
        """Episodes whose similarities [b, T, G] fit the memory that `score` takes for them; 1 or more."""
        budget = _CPU_BYTES if self.device.type == "cpu" else _DEVICE_BYTES
        held = self.n_photos if self.parts is None else 1  # a gallery in parts has blocks of its own
        return max(1, budget // (8 * self.n_steps * held))

    @property
    def n_photos(self) -> int:
        """G."""
        return len(self.gallery if self.parts is None else self.parts)

    @property
    def n_steps(self) -> int:
        """T, the longest episode."""
        return self.base.shape[1]

    @property
    def embedding_dim(self) -> int:
        """d."""
        return self.base.shape[2]

    @property
    def action_dim(self) -> int:
        """Width of an action: d, unless the task says otherwise."""
        return self.embedding_dim

    @property
    def own_settings(self) -> dict[str, Any]:
        """Settings that the task has beside those of every core."""
        return {}

    def over(self, bank: EpisodeBank, reward: str | Local | RewardScheme) -> Core:
        """A core of the same task and settings over another bank. Raises ConfigError as a new one."""
        return type(self)(bank, reward, self.mode, self.observation, self.scale, **self.own_settings)

    @property
    def observation_dim(self) -> int:
        """Width of an observation: D or d, unless the task says otherwise."""
        return self.frames.shape[2]

    # Episodes, step by step ------------------------------------------------------------------------------

    def reset(self, seeds: Tensor, sketch: Tensor | None = None) -> State:
        """First episode of each seed int64 [B]; `sketch` int64 [B] names its sketch instead of the seed.

        Raises:
            ConfigError: a sketch that is no row of the bank.
        """
        zeros = torch.zeros_like(seeds)
        width = self.n_photos if self._compares else 0
        empty = torch.arange(0, 2 * width, 2, dtype=torch.int32, device=self.device).expand(len(seeds), width)
        chosen = self._choose(seeds, zeros) if sketch is None else self._rows(sketch)
        return State(seeds, zeros, chosen, zeros, empty, zeros.double(), zeros, zeros, empty[:, :0].double())

    def next_episode(self, state: State, done: Tensor) -> State:
        """Begin the next episode where `done` bool [B]; leave the others as they are."""
        episode = state.episode + done
        return state._replace(
            episode=episode,
            sketch=torch.where(done, self._choose(state.seed, episode), state.sketch),
            step=state.step.masked_fill(done, 0),
        )

    def observe(self, state: State) -> Tensor:
        """The frame on show: float32 [B, D] or [B, d]."""
        return self._at(self.frames, state)

    def step(self, state: State, action: Tensor) -> Transition:
        """Refine, rank, pay, reveal the next frame. `action` [B, d]; after the last frame `terminated`.

        Nothing here remembers an end: a step beyond it plays, and pays for, the last frame once more. The shells
        refuse it or begin the next episode.

        Off the CPU the host never waits for the device in here, nor in `next_episode`, `observe` and `score`
        (unless the gallery is in parts), so a CUDA graph can hold a rollout.

        Raises:
            ConfigError: an action of another shape or device, a trajectory part that is not one finite real number
                for each.
            DataError: an action that is not finite.
            RuntimeError: numbers that are not finite, off the CPU, at the next synchronisation; a GPU that raised
                it is of no more use to the process.
        """
        self._check_actions(action, (len(state.step), self.embedding_dim))
        embedding = self.refine(self._at(self.base, state), action)
        similarities, rank = self._rank(embedding, self.bank.targets[state.sketch])
        terms, after = self._pay(state, similarities, rank)
        last = self.bank.lengths[state.sketch] - 1
        following = after._replace(step=torch.minimum(state.step + 1, last))
        return Transition(following, terms.local + terms.trajectory, state.step >= last, rank, terms, similarities)

    # Whole episodes at once ------------------------------------------------------------------------------

    def observations(self, sketches: Tensor) -> Tensor:
        """All frames of sketches int64 [B]: float32 [B, T, D] or [B, T, d].

        Raises:
            ConfigError: a sketch that is no row of the bank, or sketches on another device.
        """
        return self.frames.index_select(0, self._rows(sketches))

    def score(self, sketches: Tensor, actions: Tensor, credit: str = "aligned") -> Score:
        """Rank and pay whole episodes; equal to stepping through them, as frames do not depend on actions.

        Args:
            sketches: int64 [B], rows of the bank.
            actions: [B, T, d].
            credit: `"aligned"`: the trajectory part g_t goes to the step it is about; `"online"`: to the step
                after, where stepping can first pay it. An episode's sum is the same. `"summed"`: a step is paid
                all three terms that its action moves, g_{t-1} + g_t + g_{t+1}, so that its own pay is the whole
                of what the action changes in that sum, whose policy gradient is then exact without a return.

        Raises:
            ConfigError: sketches that are no rows of the bank, wrong shape or credit, a trajectory part that is
                not one finite real number for each.
            DataError: an action that is not finite.
            RuntimeError: as `step`.
        """
        if credit not in CREDITS:
            raise unknown_name("credit", credit, CREDITS)
        self._check_actions(actions, (len(self._rows(sketches)), self.n_steps, self.embedding_dim))
        rows = self.rows_at_once
        if len(sketches) <= rows:
            return self._score(sketches, actions, credit)
        if actions.device.type == "cpu" and not torch.isfinite(actions).all():
            raise not_finite(actions)  # a block would name the row in the block
        blocks = zip(sketches.split(rows), actions.split(rows), strict=True)
        return Score(*map(torch.cat, zip(*(self._score(*block, credit) for block in blocks), strict=True)))

    def _score(self, sketches: Tensor, actions: Tensor, credit: str) -> Score:
        """`score` of so few episodes that the similarities of all fit the memory."""
        steps = self.n_steps
        targets = self.bank.targets[sketches].unsqueeze(1).expand(-1, steps)
        valid = torch.arange(steps, device=self.device) < self.bank.lengths[sketches].unsqueeze(1)  # [B, T]
        similarities, rank = self._rank(
            self.refine(self.base.index_select(0, sketches), actions), targets
        )  # [B, T, G] and [B, T]
        tau = torch.zeros(len(sketches), steps - 1, dtype=torch.float64, device=self.device)
        if self._compares and steps > 1:
            tau = tau_along(similarities, self.reward.tau_normalized) * valid[:, 1:]
        local = self._local_along(sketches, similarities, rank, tau, valid)
        rank = rank * valid
        trajectory = torch.zeros_like(local)
        if self.reward.trajectory is not None and steps > 1:
            about = torch.arange(2, steps, device=self.device)  # from 1
            paid = self._trajectory_reward(tau[:, :-1], tau[:, 1:], valid[:, 2:], sketches, about)  # [B, T-2]
            # The list of step t stands in g_{t-1}, g_t and g_{t+1}.
            for first in {"aligned": (1,), "online": (2,), "summed": (0, 1, 2)}[credit]:
                trajectory[:, first : first + steps - 2] += paid
        return Score(rank, tau, local + trajectory, local, trajectory, valid)

    def play(self, sketches: Tensor, act: Play) -> tuple[Tensor, Tensor]:
        """Observations [B, T, D] and actions [B, T, d] of whole episodes of sketches int64 [B], step after step.

        `act` answers each step's observations [B, D] by actions [B, d], which are ranked by `score` and not in here.
        """
        frames = self.observations(sketches)
        return frames, torch.stack([act(frames[:, t]) for t in range(self.n_steps)], dim=1)

    def refinements(self, actions: Tensor) -> Tensor:
        """What actions [B, T, ...] of whole episodes add to the embeddings, in units of `scale`: [B, T, d]."""
        return actions

    def boxed(self, actions: Tensor) -> Tensor:
        """Actions [..., d] that do the same from inside the box: those outside are scaled as a whole."""
        return actions / actions.abs().amax(dim=-1, keepdim=True).clamp_min(1)

    def value(self, score: Score) -> Tensor:
        """What a policy is chosen by, 0..100 of each episode: float64 [B]. m@B, unless the task says otherwise."""
        return m_at_b(score.rank, score.valid)

    # Parts -----------------------------------------------------------------------------------------------

    def refine(self, base: Tensor, action: Tensor) -> Tensor:
        """Refined embeddings [..., d] of length 1, on the exact grid.

        An action outside the box is scaled into it, never cut off by coordinate: that would turn it. The
        zero action in absolute mode has no direction and is as far from every photo: all ties, last rank.
        """
        refined = refine(base if self.mode == "residual" else None, action.double(), self.scale)
        if refined is None:
            raise not_finite(action)
        return refined

    def _check_photos(self, gallery: ShardedGallery) -> None:
        """In another order the ranks would be those of other photos."""
        row = self.bank.targets.unique()
        similarities = gallery.similarity(self.gallery[row], row)
        for wrong in row[similarities < 1 - 1e-6][:1].tolist():  # float16 is off by 1e-7
            photo = self.bank.photo_ids[wrong]
            raise ConfigError(
                f"gallery row {wrong} is not the bank's photo {photo!r}: begin with the bank's photos in order"
            )

    def _check_actions(self, actions: Tensor, shape: tuple[int, ...]) -> None:
        """Others would be broadcast, or rounded, without a word."""
        if not isinstance(actions, Tensor) or actions.is_complex() or actions.dtype == torch.bool:
            raise ConfigError(f"actions are {described(actions)}: want a tensor of real numbers {shape}")
        if actions.shape != shape:
            wanted = ", ".join(["B", *map(str, shape[1:])])
            raise ConfigError(f"actions {tuple(actions.shape)} for {shape[0]} sketches: want [{wanted}]")
        self._check_device("actions", actions)

    def _check_device(self, name: str, given: Tensor) -> None:
        if given.device != self.frames.device:
            raise ConfigError(f"{name} are on {given.device}, the bank on {self.frames.device}: move them there")

    def _rows(self, sketches: Tensor) -> Tensor:
        """The same, once they are known to be rows of the bank; off the CPU `index_select` sees to that."""
        if not isinstance(sketches, Tensor) or sketches.dtype != torch.int64 or sketches.dim() != 1:
            raise ConfigError(f"sketches are {described(sketches)}: want a tensor int64 [B] of rows of the bank")
        self._check_device("sketches", sketches)
        if sketches.device.type == "cpu" and len(sketches):
            low, high = map(int, sketches.aminmax())
            if low < 0 or high >= len(self.bank):
                wrong = low if low < 0 else high
                raise ConfigError(f"sketch {wrong} is no row of the bank: want 0 to {len(self.bank) - 1}")
        return sketches

    def _rank(self, embedding: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Similarities [..., G], or [..., 0] of a gallery in parts, and ranks [...]."""
        if self.parts is not None:
            return embedding[..., :0], self.parts.rank(embedding, target)
        similarities = similarity(embedding, self.gallery)
        return similarities, count_rank(similarities, target)

    def _at(self, table: Tensor, state: State) -> Tensor:
        """Rows [B, ...] of a table [N, T, ...] for the frames on show; quicker than table[sketch, step]."""
        return table.flatten(0, 1).index_select(0, state.sketch * table.shape[1] + state.step)

    def _pay(self, state: State, similarities: Tensor, rank: Tensor) -> tuple[Terms, State]:
        """What the step pays, and the state with what the next one will ask about this one."""
        after, tau = state, state.tau
        if self._compares:
            order, tau = ranking_after(state.ranking, similarities, self.reward.tau_normalized)
            after = after._replace(ranking=order, tau=tau)
        best = state.best_rank
        if self._remembers:
            first = state.step == 0
            state = state._replace(rank=state.rank.masked_fill(first, self.n_photos))
            best = best.masked_fill(first, self.n_photos)
            after = after._replace(rank=rank, best_rank=torch.minimum(best, rank))
        if self._reward_table is not None:
            local = self._reward_table[rank - 1]
        else:
            seen = self._step(
                rank=lambda: rank,
                previous_rank=lambda: state.rank,
                best_rank=lambda: best,
                step=lambda: state.step + 1,
                length=lambda: self.bank.lengths[state.sketch],
                tau_before=lambda: state.tau.masked_fill(state.step < 2, 0),
                tau_after=lambda: tau.masked_fill(state.step < 1, 0),
                **Step.of_lists(similarities, self.bank.targets[state.sketch]),
            )
            local = self._local(seen, torch.ones_like(rank, dtype=torch.bool), state.sketch, state.step + 1)
        if self.reward.trajectory is None:
            return Terms(local, torch.zeros_like(local)), after
        # The part about step t-1 needs tau(L_{t-2}, L_{t-1}) and tau(L_{t-1}, L_t): first paid at step three.
        due = state.step >= 2
        return Terms(local, self._trajectory_reward(state.tau, tau, due, state.sketch, state.step)), after

    def _local_along(self, sketches: Tensor, similarities: Tensor, rank: Tensor, tau: Tensor, valid: Tensor) -> Tensor:
        """The local part float64 [B, T] of whole episodes."""
        if self._reward_table is not None:
            return self._reward_table[rank - 1] * valid
        steps, lists = self.n_steps, similarities.flatten(0, 1)
        number = torch.arange(1, steps + 1, device=self.device).expand_as(rank)

        def behind(along: Tensor, by: int = 1, first: int = 0) -> Tensor:
            """What was so many steps before: [B * T]."""
            return pad(along, (by, 0), value=first)[:, :steps].flatten()

        seen = self._step(
            rank=rank.flatten,
            previous_rank=lambda: behind(rank, first=self.n_photos),
            best_rank=lambda: behind(rank.cummin(dim=1).values, first=self.n_photos),
            step=number.flatten,
            length=lambda: self.bank.lengths[sketches].repeat_interleave(steps),
            tau_before=lambda: behind(tau, 2),
            tau_after=lambda: behind(tau),
            **Step.of_lists(lists, self.bank.targets[sketches].repeat_interleave(steps)),
        )
        return self._local(seen, valid, sketches, number)

    def _step(self, **parts: Callable[[], Tensor]) -> Step:
        """A step of those parts alone that the reward was found to read: what others need is not kept up."""
        return Step(self.n_photos, **{name: part for name, part in parts.items() if name in self._reads})

    def _local(self, seen: Step, where: Tensor, sketch: Tensor, step: Tensor) -> Tensor:
        """The local part float64 [B, ...] of the M steps seen `where` they count, else 0, of sketches [B]."""
        paid = torch.where(where, self.reward.local_reward(seen).view(where.shape), 0.0)
        return self._finite(paid, "is NaN or infinite", sketch, step)

    def _trajectory_reward(self, before: Tensor, after: Tensor, where: Tensor, sketch: Tensor, about: Tensor) -> Tensor:
        """The trajectory part float64 [B, ...] `where` it is due, else 0, of sketches [B], for steps `about` [...]."""
        paid = torch.where(where, self.reward.trajectory_reward(before, after), 0.0)
        return self._finite(paid, "its trajectory part is NaN or infinite", sketch, about)

    def _finite(self, paid: Tensor, fault: str, sketch: Tensor, step: Tensor) -> Tensor:
        """The same, float64 [B, ...] of sketches [B] and steps [...], once it is known to be finite."""
        fine, fault = torch.isfinite(paid).all(), f"reward {self.reward.name!r}: {fault}"
        if paid.device.type != "cpu":
            torch._assert_async(fine, fault)
        elif not fine:
            first = tuple((~torch.isfinite(paid)).nonzero()[0].tolist())
            of = self.bank.sketch_ids[int(sketch[first[0]])]
            raise ConfigError(f"{fault} for step {int(step.expand_as(paid)[first])} of environment {first[0]} ({of})")
        return paid

    def _choose(self, seed: Tensor, episode: Tensor) -> Tensor:
        """Sketch of an episode: uniform, and a function of (seed, episode) alone, whatever the batch."""
        mixed = _mix(_mix(seed) + episode)
        return (mixed & 0x7FFF_FFFF_FFFF_FFFF) % len(self.bank)


def choose(mask: Tensor, a: State, b: State) -> State:
    """State `a` where `mask` bool [B], `b` elsewhere."""
    return State(*(torch.where(mask if x.dim() == 1 else mask.unsqueeze(1), x, y) for x, y in zip(a, b, strict=True)))


def _mix(x: Tensor) -> Tensor:
    """splitmix64 (Steele et al., OOPSLA 2014) on int64, which wraps around."""
    x = x + _signed(0x9E3779B97F4A7C15)
    x = (x ^ _shift(x, 30)) * _signed(0xBF58476D1CE4E5B9)
    x = (x ^ _shift(x, 27)) * _signed(0x94D049BB133111EB)
    return x ^ _shift(x, 31)


def _shift(x: Tensor, bits: int) -> Tensor:
    return (x >> bits) & ((1 << (64 - bits)) - 1)  # torch shifts int64 with its sign


def _signed(x: int) -> int:
    return x - (1 << 64)
