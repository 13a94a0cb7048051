"""Checks for tests of your own: the rules that environments, rewards, policies and agents keep.

Each check plays what it is given and raises `BrokenRule`, whose message begins with the name of a rule in `RULES`.
"""

from __future__ import annotations

import copy
import random
import tempfile
from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, cast

import gymnasium as gym
import numpy as np
import numpy.typing as npt
import torch
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv
from gymnasium.vector.utils import batch_space, concatenate, create_empty_array
from torch import Tensor

from sketchless.datasets.errors import ConfigError

from .core import Core
from .rewards import Local, RewardScheme, Step, made_up, make_reward

Array = npt.NDArray[Any]

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


class BrokenRule(AssertionError):
    """`<rule>: <what it says>; <how it was broken>`."""

    @property
    def rule(self) -> str:
        """A key of `RULES`."""
        return str(self).partition(":")[0]


def _require(holds: Any, rule: str, how: str) -> None:
    if not holds:
        raise BrokenRule(f"{rule}: {RULES[rule]}; {how}")


# Vector environments ---------------------------------------------------------------------------------------


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
            _require(step is None, rule, f"{how}, environment {i} differs at step {step}")

    with closing(make(num_envs)) as env:
        space = copy.deepcopy(env.single_action_space)
        space.seed(seed)
        actions, others = ([[space.sample() for _ in rows] for _ in range(steps)] for _ in range(2))
        first = _play(env, actions, seed, watch=_Inspector(env, num_envs))
        again = _play(env, actions, seed)
        mode = env.metadata["autoreset_mode"]
    never = f"no episode ended within {steps} steps, so it was not seen: give more steps"
    _require(any(moment.ended.any() for moment in first), "autoreset", never)
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
            _require(False, rule, f"environment {i} differs from the single one at step {step}")


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
    _require(isinstance(mode, AutoresetMode), "autoreset", f"metadata['autoreset_mode'] is {mode!r}, no AutoresetMode")
    result, ended = env.reset(seed=seed), np.zeros(size, bool)
    watch(result)
    returned, moments = [result], [_Moment(_arrays(result[0]), _arrays(result[0]), (), ended)]
    for t, action in enumerate(actions):
        if spoil:
            _spoil(returned)
        given = _batch(env.single_action_space, action)
        if isinstance(result[0], Tensor):
            given = torch.as_tensor(given, device=result[0].device)
        result = env.step(given)
        watch(result, given)
        returned, (reward, *flags) = [result, given], (_numpy(part) for part in result[1:4])
        begun, ended = ended, flags[0] | flags[1]
        observation = last = _arrays(result[0])
        if mode is AutoresetMode.NEXT_STEP:
            paid = reward[begun].any() or ended[begun].any()
            _require(not paid, "autoreset", f"step {t + 1}, which only begins an episode, has a reward or a flag")
        elif mode is AutoresetMode.SAME_STEP:
            last = _last_observation(observation, result[4], ended)
        else:
            mask = ended.copy()
            mask[0] |= restart_first and t % 3 == 0
            if mask.any():
                result = env.reset(options={"reset_mask": mask})
                watch(result)
                returned, observation = [*returned, result], _arrays(result[0])
        moments.append(_Moment(observation, last, (reward, *flags), ended))
    return moments


def _batch(space: gym.Space[Any], rows: Sequence[Any]) -> Any:
    out: Any = create_empty_array(space, len(rows))
    return concatenate(space, rows, out)


def _last_observation(observation: list[Array], info: dict[str, Any], ended: Array) -> list[Array]:
    marked, final = _numpy(info.get("_final_obs", np.zeros_like(ended))), info.get("final_obs", ())
    how = f"info['_final_obs'] is {marked.tolist()} where the flags say {ended.tolist()}"
    _require(np.array_equal(marked, ended), "autoreset", how)
    last = [part.copy() for part in observation]
    for i in ended.nonzero()[0]:
        if isinstance(final, np.ndarray) and final.dtype == object:
            parts = _arrays(final[i])
        else:
            parts = [part[i] for part in _arrays(final)]
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
        self.want = [(x.shape, x.dtype) for x in _arrays(create_empty_array(env.single_observation_space, num_envs))]
        for name in ("observation_space", "action_space"):
            alike = getattr(env, name) == batch_space(getattr(env, f"single_{name}"), num_envs)
            _require(alike, "spaces", f"{name} is not {num_envs} times single_{name}")
        _require(env.num_envs == num_envs, "spaces", f"num_envs is {env.num_envs}, asked for were {num_envs}")

    def __call__(self, result: tuple[Any, ...], actions: Any = None) -> None:
        self.step += 1
        where, observation = f"of result {self.step}", result[0]
        got = [(x.shape, x.dtype) for x in _arrays(observation)]
        _require(got == self.want, "types", f"the observation {where} is {got}, in its space {self.want}")
        _require(isinstance(result[-1], dict), "types", f"the last part {where} is no dict")
        for part, kind in zip(result[1:-1], (np.floating, np.bool_, np.bool_), strict=False):
            x = _numpy(part)
            fits = isinstance(part, (np.ndarray, Tensor)) and x.shape == (self.env.num_envs,)
            _require(fits and np.issubdtype(x.dtype, kind), "types", f"{x.dtype} {x.shape} {where}: no {kind.__name__}")
        for name, leaf in _leaves(result):
            x = _numpy(leaf)
            _require(x.dtype.kind not in "fc" or np.isfinite(x).all(), "finite", f"part {name} {where} is not")
        if isinstance(observation, Tensor):
            observation = _numpy(observation)
        inside = self.env.observation_space.contains(observation)
        _require(inside, "spaces", f"the observation {where} lies outside its space")
        places: list[tuple[str, Any]] = []
        self.known.append(places)
        for name, leaf in [*_leaves(result), *_leaves(actions, " of the actions")]:
            for other, place in [pair for pairs in self.known for pair in pairs]:
                _require(not _share(leaf, place), "memory", f"part {name} {where} shares it with {other}")
            places.append((f"{name} {where}", leaf))


# What actions change ---------------------------------------------------------------------------------------


class Matters(NamedTuple):
    """What an action was seen to change after its own step."""

    observation: bool
    end: bool
    reward: bool  # of a later step; a reward may look back where nothing else does


def check_actions_matter(
    make: Callable[[], gym.Env[Any, Any]], bandit: bool, *, episodes: int = 6, seed: int = 7
) -> Matters:
    """Tell by experiment whether an environment is a contextual bandit, and check `bandit` or `actions matter`.

    Plays episodes twice with the same random actions but for one, and compares what comes after it. What no experiment
    shows may still be there: many episodes find it sooner.

    Args:
        make: a new single environment; seeds alone must choose its episodes.
        bandit: what it should be.
        episodes: each of which is played again once for each of its steps.
        seed: of the episodes and of the actions.

    Raises:
        BrokenRule: it is something else.

    >>> import gymnasium as gym, sketchless.envs
    >>> check_actions_matter(lambda: gym.make("sketchless/OnTheFly-v0", reward="inv-rank"), bandit=True, episodes=1)
    Matters(observation=False, end=False, reward=False)
    """
    found = Matters(False, False, False)
    with closing(make()) as env:
        space = copy.deepcopy(env.action_space)
        space.seed(seed)
        for episode in range(episodes):
            actions, observations, rewards = [], [], []
            env.reset(seed=seed + episode)
            ended = False
            while not ended:
                actions.append(space.sample())
                observation, reward, terminated, truncated, _ = env.step(actions[-1])
                observations.append(_arrays(observation))
                rewards.append(reward)
                ended = terminated or truncated
            for changed in range(len(actions)):
                found = Matters(
                    *map(max, found, _replayed(env, seed + episode, actions, changed, space, observations, rewards))
                )
    rule, holds = (
        ("bandit", not (found.observation or found.end))
        if bandit
        else ("actions matter", found.observation or found.end)
    )
    _require(holds, rule, f"{episodes} episodes show {found}")
    return found


def _replayed(
    env: gym.Env[Any, Any],
    seed: int,
    actions: list[Any],
    changed: int,
    space: gym.Space[Any],
    observations: list[list[Array]],
    rewards: list[Any],
) -> Matters:
    """What another action in step `changed` changes in an episode that went as told."""
    env.reset(seed=seed)
    seen = paid = False
    for t, action in enumerate(actions):
        observation, reward, terminated, truncated, _ = env.step(space.sample() if t == changed else action)
        ended = terminated or truncated
        if ended != (t == len(actions) - 1):
            return Matters(seen, True, paid)
        seen |= t >= changed and not _equal(_arrays(observation), observations[t])
        paid |= t > changed and reward != rewards[t]
    return Matters(seen, False, paid)


# Rewards ---------------------------------------------------------------------------------------------------


def check_reward(reward: str | Local | RewardScheme, sizes: Sequence[int] = (2, 10, 100)) -> None:
    """Check the rules `reward ...`, which all registered schemes keep, for galleries of some sizes.

    Raises:
        BrokenRule: the first rule that is found broken. ConfigError: not a reward.

    >>> check_reward("combined")
    """
    scheme = make_reward(reward)
    for size in sizes:
        paid = _paid_for_ranks(scheme, size)
        _require((paid.diff() <= 0).all(), "reward order", f"{size} photos: {paid.tolist()}")
        if scheme.trajectory is not None:
            most = 1 if scheme.tau_normalized else size * (size - 1) / 2
            taus = torch.linspace(0, most, 9, dtype=torch.float64)
            pairs = torch.cartesian_prod(taus, taus).unbind(1)
            paid = _paid("for a trajectory", scheme.trajectory, *pairs).view(9, 9)  # [before, after]
            steady = (paid <= 0).all() and (paid.diff(dim=1) <= 0).all()
            _require(steady, "reward trajectory", f"taus up to {most:g} are paid {paid.tolist()}")


def _paid_for_ranks(scheme: RewardScheme, size: int) -> Tensor:
    """What the local part pays for ranks 1..size, in steps that are otherwise alike: float64 [size]."""
    ranks, local, where = torch.arange(1, size + 1), cast(Any, scheme.local), f"for {size} photos"
    if not scheme.sees_step:
        return _paid(where, lambda rank: local(rank, size), ranks)
    example, names = made_up(size), sorted(scheme.reads(size))

    def part(*fields: Tensor) -> Any:
        return local(Step(size, **{name: partial(_itself, x) for name, x in zip(names, fields, strict=True)}))

    _paid(where, part, *(getattr(example, name) for name in names), flat=True)
    alike = {name: getattr(example, name)[2:3] for name in names} | {"rank": ranks}
    fields = [alike[name].expand(size, *alike[name].shape[1:]) for name in names]
    return _paid(where, part, *fields, flat=True) if "rank" in names else torch.zeros(1)


def _itself(x: Tensor) -> Tensor:
    return x


def _paid(where: str, part: Callable[..., Any], *asked: Tensor, flat: bool = False) -> Tensor:
    """What a part of a reward pays: float64, once it has shown that it is a function of each number (row)."""
    given = [x.clone() for x in asked]
    paid: Tensor = part(*given)
    real = isinstance(paid, Tensor) and not paid.is_complex() and paid.shape == asked[0].shape[:1]
    _require(real and torch.isfinite(paid).all(), "reward numbers", f"{where}, it gives {paid!r}")
    _require(all(map(torch.equal, given, asked)), "reward inputs", f"{where}, they are overwritten")
    paid = paid.detach().double().clone()
    _require(torch.equal(part(*asked).double(), paid), "reward repeats", f"{where}, it is not so")
    others = {
        "one by one": torch.cat([part(*(x[i : i + 1] for x in asked)) for i in range(len(paid))]),
        "backwards": part(*(x.flip(0) for x in asked)).flip(0),
        "twice": part(*(torch.cat([x, x]) for x in asked))[len(paid) :],
        "in two rows": paid if flat else part(*(x.repeat(2, 1) for x in asked))[1],
    }
    for how, other in others.items():  # nearly: vector instructions may round the last bit otherwise
        same = other.shape == paid.shape and torch.allclose(other.double(), paid, rtol=1e-6)
        _require(same, "reward elementwise", f"{where}, asked {how}, it pays something else")
    return paid


# Policies and agents ---------------------------------------------------------------------------------------

_CHANGES: dict[str, Callable[[Array], Array]] = {
    "blanking": np.zeros_like,
    "reversing": lambda later: later[:, ::-1],
    "replacing": np.negative,
}


def check_causal(
    policy: Any, observations: Array | Tensor, whole: bool = False, tolerance: float = 0.0, core: Core | None = None
) -> None:
    """Check `actions repeats causal`: change all frames after some time, and look at the actions up to then.

    What a policy keeps from elsewhere, such as a data set to look a drawing up in, cannot be seen this way.

    Args:
        policy: an agent, whose `predict` sees one frame after the other and its own state, or a function.
        observations: frames [N, T, D]; a function is given tensors if these are one, else arrays.
        whole: the function maps episodes [N, T, D] to actions [N, T, ...], not frames [N, D] to [N, ...].
        tolerance: by how much actions may differ, for libraries that add up in an order that varies.
        core: the task that the policy plays, where actions change what it sees beside the frames (`Carry-v0`): it sees
            what its own actions brought about. By default that of an agent of ours. It has N drawings or more, of T
            frames.

    Raises:
        BrokenRule: the first rule that is found broken.
        ConfigError: `whole` in such a task: actions cannot be known before what they bring about is seen.
    """
    frames, own = _numpy(observations), core if core is not None else getattr(policy, "core", None)
    core = own if isinstance(own, Core) and not own.bandit else None
    if whole and core is not None:
        raise ConfigError(f"whole=True in the task {core.task}: what is seen depends on actions, give a step's policy")

    def act(shown: Array) -> Array:
        return _act(policy, shown, observations, whole, core)

    expected = act(frames)
    apart = np.abs(act(frames) - expected).max()
    _require(apart <= tolerance, "repeats", "the second time they are answered by others")
    for t in range(1, frames.shape[1]):
        for name, change in _CHANGES.items():
            changed = np.concatenate([frames[:, :t], change(frames[:, t:])], axis=1)
            apart = np.abs(act(changed) - expected)[:, :t].max()
            _require(apart <= tolerance, "causal", f"{name} frames {t} and on, from 0, changes an action before them")


@torch.no_grad()
def _act(policy: Any, frames: Array, example: Array | Tensor, whole: bool, core: Core | None) -> Array:
    """Actions [N, T, ...] for frames [N, T, D], given as the example is."""
    shown = torch.as_tensor(frames, device=example.device) if isinstance(example, Tensor) else frames.copy()
    got: list[Any] = []
    state = None

    def answer(seen: Any) -> Any:
        nonlocal state
        if hasattr(policy, "predict"):
            start = np.full(len(frames), not got)
            action, state = policy.predict(_numpy(seen), state=state, episode_start=start, deterministic=True)
        else:
            action = policy(seen)
        got.append(_numpy(action))
        return action

    if core is not None:
        player = copy.copy(core)
        player.frames = torch.as_tensor(frames, device=core.device)
        given = (lambda seen: seen) if isinstance(example, Tensor) else Tensor.numpy
        rows = torch.arange(len(frames), device=core.device)
        player.play(rows, lambda seen: torch.as_tensor(answer(given(seen.cpu())), device=core.device))
    elif not whole:
        for t in range(frames.shape[1]):
            answer(shown[:, t])
    actions = _numpy(policy(shown)) if whole else np.stack(got, axis=1)
    fits = actions.shape[:2] == frames.shape[:2] and np.isfinite(actions).all()
    _require(fits, "actions", f"frames {frames.shape} are answered by {actions.shape}, not all finite or not one each")
    return actions.astype(np.float64)


_GENERATORS: dict[str, Callable[[], Any]] = {
    "python's": random.getstate,
    "numpy's": np.random.get_state,
    "torch's": lambda: [torch.get_rng_state(), *torch.cuda.get_rng_state_all()],
}


def check_agent(make: Callable[[int], Any], steps: int = 256, skip: Collection[str] = ()) -> None:
    """Check `learn`, `actions`, `repeats`, `same seed`, `save and load`, `global random state` and `not a number`.

    Args:
        make: a new agent with a seed, with stable-baselines3's `learn predict save load get_env`. Observations and
            actions are arrays.
        steps: to learn, twice.
        skip: rules that are known not to hold; agents of stable-baselines3 seed the `global random state`.

    Raises:
        BrokenRule: the first rule that is found broken.
    """

    def require(holds: Any, rule: str, how: str) -> None:
        _require(holds or rule in skip, rule, how)

    def still(after: str) -> None:
        for name, state in _GENERATORS.items():
            require(_equal(state(), before[name]), "global random state", f"{name} is another one after {after}")

    def acts(agent: Any, deterministic: bool = True) -> Array:
        return np.array(agent.predict(observations, deterministic=deterministic)[0])

    before = {name: copy.deepcopy(state()) for name, state in _GENERATORS.items()}
    agent = make(0)
    still("making it")
    env = agent.get_env()
    space = copy.deepcopy(getattr(env, "single_observation_space", env.observation_space))
    space.seed(0)
    observations = np.stack([space.sample() for _ in range(5)])
    require(agent.learn(steps) is agent, "learn", "it returned something else")
    still("learn")
    drawn, settled = acts(agent, deterministic=False), acts(agent)
    box = getattr(env, "single_action_space", env.action_space)
    one = np.array(agent.predict(observations[0], deterministic=True)[0])
    fits = len(settled) == len(drawn) == 5 and all(action in box for action in [one, *settled, *drawn])
    require(fits, "actions", f"they are {settled.dtype} {settled.shape}, or {one.shape} for one frame; wanted: {box}")
    require(_equal(acts(agent), settled), "repeats", "not even with deterministic=True")
    still("predict")
    twin = make(0)
    twin.learn(steps)
    require(_equal([acts(twin, deterministic=False), acts(twin)], [drawn, settled]), "same seed", "they differ")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "agent.zip"
        agent.save(path)
        loaded = type(agent).load(path, env=env)
    require(_equal(acts(loaded), settled), "save and load", "it acts otherwise")
    still("save and load")
    observations = np.full_like(observations, np.nan)
    try:
        answer = acts(agent)
    except Exception:  # it was refused
        return
    require(np.isfinite(answer).all(), "not a number", "they are not finite either")


# Arrays and tensors ----------------------------------------------------------------------------------------


def _leaves(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Arrays, tensors and numbers in dicts, sequences and arrays of objects, and where they stand."""
    if isinstance(value, np.ndarray) and value.dtype == object:
        value = value.tolist()
    if isinstance(value, (dict, list, tuple)):
        for key, part in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _leaves(part, f"{name}[{key!r}]")
    elif isinstance(value, (np.ndarray, Tensor, np.generic, int, float)):
        yield name, value


def _numpy(leaf: Any) -> Array:
    """A copy."""
    return leaf.detach().cpu().numpy().copy() if isinstance(leaf, Tensor) else np.array(leaf)


def _arrays(value: Any) -> list[Array]:
    return [_numpy(leaf) for _, leaf in _leaves(value)]


def _equal(a: Any, b: Any) -> bool:
    ours, theirs = _arrays(a), _arrays(b)
    return len(ours) == len(theirs) and all(map(np.array_equal, ours, theirs))


def _share(a: Any, b: Any) -> bool:
    if isinstance(a, Tensor) and isinstance(b, Tensor) and not a.is_cpu:
        return a.numel() > 0 and a.device == b.device and a.data_ptr() == b.data_ptr()
    views = [x.detach().numpy() if isinstance(x, Tensor) and x.is_cpu else x for x in (a, b)]
    return all(isinstance(x, np.ndarray) for x in views) and np.shares_memory(views[0], views[1])


def _spoil(value: Any) -> None:
    """Change every number in place."""
    for _, leaf in _leaves(value):
        if isinstance(leaf, Tensor):
            leaf.logical_not_() if leaf.dtype == torch.bool else leaf.add_(1)
        elif isinstance(leaf, np.ndarray) and leaf.flags.writeable:
            np.logical_not(leaf, out=leaf) if leaf.dtype == bool else np.add(leaf, 1, out=leaf, casting="unsafe")
