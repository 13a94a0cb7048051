"""The rules of vector environments."""

from __future__ import annotations

import copy
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import closing
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
import torch
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv
from gymnasium.vector.utils import batch_space, concatenate, create_empty_array
from torch import Tensor

from .arrays import Array, arrays_of, as_array, leaves_of, overwrite, share_memory
from .rules import RULES, BrokenRule, demand


def check_vector_env(
    make: Callable[[int], VectorEnv[Any, Any, Any]],
    single: Callable[[], gym.Env[Any, Any]] | None = None,
    *,
    num_envs: int = 3,
    steps: int = 60,
    seed: int = 7,
) -> None:
    """Check `spaces types finite memory isolation seeding autoreset`, and `single` if there is one.

    Works for numpy environments, for those of tensors if their observations and actions are single ones, and in all
    autoreset modes. In `DISABLED`, `reset(options={"reset_mask": mask})` begins the episodes.

    Args:
        make: a new environment of so many; `reset` must take a list of seeds.
        single: a new single environment, to compare with bit by bit. Without one, the first observation of the next
            episode cannot be told from another.
        num_envs: two or more, so that there are others to disturb.
        steps: of every game; enough for an episode to end.
        seed: of environments and of the actions, which are random.

    Raises:
        BrokenRule: the first rule that is found broken.
    """
    seeds, rows = list(range(seed, seed + num_envs)), range(num_envs)
    everyone = [(i, i) for i in rows]

    def play(size: int, *args: Any, **options: Any) -> list[_Moment]:
        with closing(make(size)) as other:
            return _play(other, *args, **options)

    def compare(rule: str, how: str, a: list[_Moment], b: list[_Moment], pairs: list[tuple[int, int]]) -> None:
        for i, j in pairs:
            step = _first_difference(a, b, i, j)
            demand(step is None, rule, f"{how}, environment {i} differs at step {step}")

    with closing(make(num_envs)) as env:
        space = copy.deepcopy(env.single_action_space)
        space.seed(seed)
        actions, others = ([[space.sample() for _ in rows] for _ in range(steps)] for _ in range(2))
        first = _play(env, actions, seed, watch=_Inspector(env, num_envs))
        again = _play(env, actions, seed)
        mode = env.metadata["autoreset_mode"]
    never = f"no episode ended within {steps} steps, so it was not seen: give more steps"
    demand(any(moment.ended.any() for moment in first), "autoreset", never)
    listed = play(num_envs, actions, seeds)
    compare("seeding", "with the same seed again", first, again, everyone)
    compare("seeding", "with a list of the same seeds", first, listed, everyone)
    disturbing = [[other[0], *action[1:]] for other, action in zip(others, actions, strict=True)]
    disturbed = play(num_envs, disturbing, [seed + 1000, *seeds[1:]], restart_first=True)
    compare("isolation", "while environment 0 plays otherwise", listed, disturbed, everyone[1:])
    for i in rows:
        alone = play(1, [[action[i]] for action in actions], seeds[i])
        compare("seeding", "when it is alone", first, alone, [(i, 0)])
    try:
        spoilt = play(num_envs, actions, seed, spoil=True)
    except Exception as error:  # whatever a spoilt state leads to
        raise BrokenRule(f"memory: {RULES['memory']}; once it is overwritten, step fails") from error
    compare("memory", "once it is overwritten", first, spoilt, everyone)
    if single is None:
        return
    with closing(SyncVectorEnv([single] * num_envs, autoreset_mode=mode)) as reference:
        expected = _play(reference, actions, seed)
    for i in rows:
        step = _first_difference(first, expected, i, i)
        if step is not None:
            new = any(moment.ended[i] for moment in expected[max(step - 1, 0) : step + 1])
            rule = "autoreset" if new and _same(first[step].outcome, expected[step].outcome, i, i) else "single"
            demand(False, rule, f"environment {i} differs from the single one at step {step}")


class _Moment(NamedTuple):
    """What a step shows, copied, in numpy, and in the same form for every autoreset mode."""

    observation: list[Array]  # after new episodes have begun
    last: list[Array]  # before they have
    outcome: tuple[Array, ...]  # reward, terminated, truncated
    ended: Array


def _play(
    env: Any,
    actions: Sequence[Sequence[Any]],
    seed: int | list[int],
    watch: Callable[..., None] = lambda *_: None,
    spoil: bool = False,
    restart_first: bool = False,
) -> list[_Moment]:
    """Moment 0 is the reset. `restart_first`: also begin environment 0 anew now and then, in mode DISABLED."""
    mode, size = env.metadata.get("autoreset_mode"), len(actions[0])
    demand(isinstance(mode, AutoresetMode), "autoreset", f"metadata['autoreset_mode'] is {mode!r}, no AutoresetMode")
    result, ended = env.reset(seed=seed), np.zeros(size, bool)
    watch(result)
    returned, moments = [result], [_Moment(arrays_of(result[0]), arrays_of(result[0]), (), ended)]
    for t, action in enumerate(actions):
        if spoil:
            overwrite(returned)
        given = _batch(env.single_action_space, action)
        if isinstance(result[0], Tensor):
            given = torch.as_tensor(given, device=result[0].device)
        result = env.step(given)
        watch(result, given)
        returned, (reward, *flags) = [result, given], (as_array(part) for part in result[1:4])
        begun, ended = ended, flags[0] | flags[1]
        observation = last = arrays_of(result[0])
        if mode is AutoresetMode.NEXT_STEP:
            paid = reward[begun].any() or ended[begun].any()
            demand(not paid, "autoreset", f"step {t + 1}, which only begins an episode, has a reward or a flag")
        elif mode is AutoresetMode.SAME_STEP:
            last = _last_observation(observation, result[4], ended)
        else:
            mask = ended.copy()
            mask[0] |= restart_first and t % 3 == 0
            if mask.any():
                result = env.reset(options={"reset_mask": mask})
                watch(result)
                returned, observation = [*returned, result], arrays_of(result[0])
        moments.append(_Moment(observation, last, (reward, *flags), ended))
    return moments


def _batch(space: gym.Space[Any], rows: Sequence[Any]) -> Any:
    out: Any = create_empty_array(space, len(rows))
    return concatenate(space, rows, out)


def _last_observation(observation: list[Array], info: dict[str, Any], ended: Array) -> list[Array]:
    marked, final = as_array(info.get("_final_obs", np.zeros_like(ended))), info.get("final_obs", ())
    how = f"info['_final_obs'] is {marked.tolist()} where the flags say {ended.tolist()}"
    demand(np.array_equal(marked, ended), "autoreset", how)
    last = [part.copy() for part in observation]
    for i in ended.nonzero()[0]:
        if isinstance(final, np.ndarray) and final.dtype == object:
            parts = arrays_of(final[i])
        else:
            parts = [part[i] for part in arrays_of(final)]
        for whole, part in zip(last, parts, strict=True):
            whole[i] = part
    return last


def _first_difference(ours: list[_Moment], theirs: list[_Moment], i: int, j: int) -> int | None:
    """Step at which our row i is not their row j."""
    for step, moments in enumerate(zip(ours, theirs, strict=True)):
        a, b = ([*moment.observation, *moment.last, *moment.outcome] for moment in moments)
        if not _same(a, b, i, j):
            return step
    return None


def _same(ours: Sequence[Array], theirs: Sequence[Array], i: int, j: int) -> bool:
    """In our dtypes: a float32 reward rounds that of a single environment."""
    pairs = zip(ours, theirs, strict=False)
    return len(ours) == len(theirs) and all(np.array_equal(x[i], y[j].astype(x.dtype)) for x, y in pairs)


class _Inspector:
    """Looks at each result by itself, and at the memory it shares with the two before."""

    def __init__(self, env: VectorEnv[Any, Any, Any], num_envs: int) -> None:
        self.env, self.step, self.known = env, -1, deque[list[tuple[str, Any]]](maxlen=3)
        self.want = [(x.shape, x.dtype) for x in arrays_of(create_empty_array(env.single_observation_space, num_envs))]
        for name in ("observation_space", "action_space"):
            alike = getattr(env, name) == batch_space(getattr(env, f"single_{name}"), num_envs)
            demand(alike, "spaces", f"{name} is not {num_envs} times single_{name}")
        demand(env.num_envs == num_envs, "spaces", f"num_envs is {env.num_envs}, asked for were {num_envs}")

    def __call__(self, result: tuple[Any, ...], actions: Any = None) -> None:
        self.step += 1
        where, observation = f"of result {self.step}", result[0]
        got = [(x.shape, x.dtype) for x in arrays_of(observation)]
        demand(got == self.want, "types", f"the observation {where} is {got}, in its space {self.want}")
        demand(isinstance(result[-1], dict), "types", f"the last part {where} is no dict")
        for part, kind in zip(result[1:-1], (np.floating, np.bool_, np.bool_), strict=False):
            x = as_array(part)
            fits = isinstance(part, (np.ndarray, Tensor)) and x.shape == (self.env.num_envs,)
            demand(fits and np.issubdtype(x.dtype, kind), "types", f"{x.dtype} {x.shape} {where}: no {kind.__name__}")
        for name, leaf in leaves_of(result):
            x = as_array(leaf)
            demand(x.dtype.kind not in "fc" or np.isfinite(x).all(), "finite", f"part {name} {where} is not")
        if isinstance(observation, Tensor):
            observation = as_array(observation)
        inside = self.env.observation_space.contains(observation)
        demand(inside, "spaces", f"the observation {where} lies outside its space")
        places: list[tuple[str, Any]] = []
        self.known.append(places)
        for name, leaf in [*leaves_of(result), *leaves_of(actions, " of the actions")]:
            for other, place in [pair for pairs in self.known for pair in pairs]:
                demand(not share_memory(leaf, place), "memory", f"part {name} {where} shares it with {other}")
            places.append((f"{name} {where}", leaf))
