"""Small pieces around environments and banks, to be put together at will.

What changes the problem changes the bank, as a function of banks: a longer gallery or lost frames then hold for every
shell, for whole episodes scored at once and for baselines that never see an environment; and nothing is paid per step.

>>> import gymnasium as gym
>>> from sketchless.encoders import EpisodeBank
>>> train, test = EpisodeBank.load("procedural", "train"), EpisodeBank.load("procedural", "test")
>>> bank = drop_frames(with_distractors(test, train), 0.1)
>>> envs = gym.make_vec("sketchless.envs:sketchless/OnTheFly-v0", num_envs=8, bank=bank, device="cpu")
>>> observation, info = ToNumpy(NormalizeReward(envs)).reset(seed=0)

Noise strokes are planted before anything is encoded (see `sketchless.envs.noise`):

    noisy = plant_noise(dataset, strokes=3, seed=0).dataset
    banks = encode_banks(encoder, noisy, schedule="strokes")  # draw its episodes with dataset=noisy
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import replace
from itertools import compress
from numbers import Real
from typing import Any, NamedTuple

import numpy as np
import torch
from gymnasium.vector import AutoresetMode, VectorEnv, VectorWrapper
from torch import Tensor
from torch.nn.functional import normalize

from sketchless.datasets.errors import CheckpointError, ConfigError
from sketchless.encoders.bank import EpisodeBank
from sketchless.encoders.gallery import Gallery

from .inputs import as_count


def resize_gallery(bank: EpisodeBank, photos: int, seed: int = 0, drop_sketches: bool = False) -> EpisodeBank:
    """The bank with a smaller gallery, chosen at random; for more photos see `with_distractors`.

    For one seed, a smaller gallery is part of every larger one.

    Args:
        bank: with G photos.
        photos: to keep, 2 to G.
        seed: of the choice, 0 or more.
        drop_sketches: False keeps every photo that a sketch depicts; True lets any go, with its sketches.

    Raises:
        ConfigError: a number of photos out of range, or one that would leave no sketch; a negative seed.
    """
    photos, seed = as_count("photos", photos, 0), as_count("seed", seed, 0)
    size, device = len(bank.gallery), bank.gallery.device
    needed = torch.zeros(size, dtype=torch.bool, device=device)
    if not drop_sketches:
        needed[bank.targets] = True
    fewest = int(needed.sum())
    if not max(fewest, 2) <= photos <= size:
        hint = "" if drop_sketches else f" (fewer than the {fewest} that sketches depict only with drop_sketches=True)"
        raise ConfigError(f"gallery of {photos} photos, seed={seed}: want 2 to {size} photos{hint}")
    others = (~needed).nonzero().flatten()
    order = torch.randperm(len(others), generator=torch.Generator().manual_seed(seed)).to(device)
    kept = needed.index_fill(0, others[order[: photos - fewest]], True)
    row = kept[bank.targets]  # of sketches whose photo is kept
    if not row.any():
        raise ConfigError(f"gallery of {photos} photos, seed={seed}: no sketch depicts one of them; keep more")
    return _changed(
        bank,
        {"resize_gallery": {"photos": photos, "seed": seed, "drop_sketches": drop_sketches}},
        features=bank.features if row.all() else bank.features[row],
        lengths=bank.lengths[row],
        targets=(kept.cumsum(0) - 1)[bank.targets[row]],
        gallery=bank.gallery[kept],
        sketch_ids=tuple(compress(bank.sketch_ids, row.tolist())),
        photo_ids=tuple(compress(bank.photo_ids, kept.tolist())),
    )


def with_distractors(bank: EpisodeBank, photos: EpisodeBank | Gallery) -> EpisodeBank:
    """The bank with further photos, which no sketch of it depicts, at the end of its gallery.

    Args:
        bank: that keeps its sketches.
        photos: those of another bank of the same encoder, or any that this encoder has embedded
            (`Gallery.encode`): that cannot be seen from a `Gallery` and is up to the caller.

    Raises:
        ConfigError: another encoder, another width, or a photo that the bank has already.
    """
    if isinstance(photos, EpisodeBank):
        if not torch.equal(*(torch.cat([one.weight.flatten(), one.bias]).cpu() for one in (bank, photos))):
            raise ConfigError("banks of different encoders: their photos cannot stand in one gallery")
        photos = photos.photos()
    if photos.embeddings.shape[1] != bank.gallery.shape[1]:
        raise ConfigError(f"photos embedded in {photos.embeddings.shape[1]} dimensions, not {bank.gallery.shape[1]}")
    if twice := set(photos.photo_ids) & set(bank.photo_ids):
        raise ConfigError(f"photo {min(twice)!r} stands in the gallery already ({len(twice)} do): leave those out")
    return _changed(
        bank,
        {"with_distractors": len(photos)},
        gallery=torch.cat([bank.gallery, photos.embeddings.to(bank.gallery)]),
        photo_ids=bank.photo_ids + photos.photo_ids,
    )


def drop_frames(bank: EpisodeBank, share: float, seed: int = 0) -> EpisodeBank:
    """The bank of a display that freezes: where a frame is lost, the frame before is shown again.

    The first frame is never lost, and episodes keep their length. What a sketch loses follows from the seed and its
    id alone; a larger share loses the same frames and more. Pictures of an episode still show the whole drawing.

    Args:
        share: probability that a frame is lost, 0..1.
        seed: 0 or more.

    Raises:
        ConfigError: a share that is no number of 0..1, a negative seed.
    """
    seed = as_count("seed", seed, 0)
    if not (isinstance(share, Real) and 0 <= share <= 1):
        raise ConfigError(f"share={share!r} of frames to drop: want a share of 0 to 1")
    steps = bank.features.shape[1]
    draws = [np.random.default_rng([seed, zlib.crc32(name.encode())]).random(steps) for name in bank.sketch_ids]
    frame = torch.arange(steps)
    lost = (torch.from_numpy(np.stack(draws)) < share) & (frame > 0)
    lost |= frame >= bank.lengths.cpu().unsqueeze(1)  # beyond its length an episode repeats its last frame
    shown = frame.masked_fill(lost, 0).cummax(dim=1).values.to(bank.features.device)  # [N, T]
    return _changed(
        bank,
        {"drop_frames": {"share": share, "seed": seed}},
        features=bank.features.take_along_dim(shown.unsqueeze(2), dim=1),
    )


def thin_frames(bank: EpisodeBank, every: int) -> EpisodeBank:
    """The bank with shorter episodes: every so many-th frame of each, and always its last.

    Args:
        every: 1 to T; T / every frames are left, rounded up.

    Raises:
        ConfigError: a number out of range.
    """
    steps, every = bank.features.shape[1], as_count("every", every, 0)
    if not 1 <= every <= steps:
        raise ConfigError(f"every={every}: want 1 to {steps}, the frames of an episode")
    ends = torch.arange(1, -(-steps // every) + 1, device=bank.features.device) * every
    shown = torch.minimum(ends, bank.lengths.unsqueeze(1)) - 1  # [N, T / every]
    return _changed(
        bank,
        {"thin_frames": every},
        features=bank.features.take_along_dim(shown.unsqueeze(2), dim=1),
        lengths=(bank.lengths + every - 1) // every,
    )


def project(bank: EpisodeBank, directions: Tensor) -> EpisodeBank:
    """The bank in a narrower embedding: head and gallery along some directions, at length 1 again.

    normalise(V (W x + b)) = normalise(V e): sketches and photos are projected alike.

    Args:
        directions: V, float32 [k, d], orthonormal rows, such as `principal_directions`.

    Raises:
        ConfigError: of another width than the bank's embedding.
    """
    if directions.dim() != 2 or directions.shape[1] != bank.gallery.shape[1]:
        raise ConfigError(f"directions {tuple(directions.shape)}: want [k, {bank.gallery.shape[1]}]")
    return _changed(
        bank,
        {"project": len(directions)},
        gallery=normalize(bank.gallery @ directions.T, dim=-1),
        weight=directions @ bank.weight,
        bias=directions @ bank.bias,
    )


def principal_directions(gallery: Tensor, width: int) -> Tensor:
    """float32 [width, d]: along which photos [G, d] have most of their length, not centred, as embeddings are not.

    Raises:
        ConfigError: a width outside 1..min(G, d).
    """
    width = as_count("width", width, 0)
    if not 1 <= width <= min(gallery.shape):
        raise ConfigError(f"width={width}: want 1 to {min(gallery.shape)}, of a gallery {tuple(gallery.shape)}")
    directions: Tensor = torch.linalg.svd(gallery.double(), full_matrices=False).Vh
    return directions[:width].float()


def _changed(bank: EpisodeBank, change: Mapping[str, Any], **fields: Any) -> EpisodeBank:
    """A bank that says what was done to it."""
    changes = [*bank.provenance.get("changes", []), dict(change)]
    return replace(bank, provenance={**bank.provenance, "changes": changes}, **fields)


class ToNumpy(VectorWrapper):
    """Numpy outside, torch inside: observations, rewards, flags and infos come as arrays of their own.

    Actions may be arrays, as they may without it. Gymnasium's vector wrappers work around it; those that change
    observations want `autoreset_mode="NextStep"`, as they do around any vector environment.

    >>> import gymnasium as gym
    >>> from gymnasium.wrappers.vector import RecordEpisodeStatistics
    >>> envs = gym.make_vec("sketchless.envs:sketchless/OnTheFly-v0", num_envs=2, device="cpu")
    >>> envs = RecordEpisodeStatistics(ToNumpy(envs))
    >>> _ = envs.reset(seed=0)
    >>> for _ in range(20):
    ...     observation, reward, terminated, truncated, info = envs.step(envs.action_space.sample())
    >>> info["episode"]["l"]
    array([20, 20])
    """

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        return to_numpy(self.env.reset(seed=seed, options=options))

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        return to_numpy(self.env.step(actions))


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
        env: whose observations and rewards are tensors.
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
                "NormalizeReward wants tensors: ToNumpy goes around it, arrays to gymnasium's of that name"
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
