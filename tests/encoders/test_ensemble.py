from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn.functional import linear, normalize

from sketchless.datasets import ConfigError
from sketchless.encoders import EpisodeBank, save_banks
from sketchless.encoders.ensemble import ensemble


def embedding(bank: EpisodeBank) -> Tensor:
    return normalize(linear(bank.features, bank.weight, bank.bias), dim=-1)  # [N, T, d]


def other(bank: EpisodeBank, seed: int = 1, dim: int = 3, width: int = 4) -> EpisodeBank:
    """The same drawings and photos, seen by another encoder."""
    generator = torch.Generator().manual_seed(seed)
    return replace(
        bank,
        features=normalize(torch.randn(*bank.features.shape[:2], width, generator=generator), dim=-1),
        gallery=normalize(torch.randn(len(bank.gallery), dim, generator=generator), dim=-1),
        weight=torch.randn(dim, width, generator=generator),
        bias=torch.randn(dim, generator=generator),
    )


def test_its_similarity_is_the_mean_of_the_members(bank: EpisodeBank) -> None:
    members = [bank, other(bank), other(bank, 2, dim=5)]
    joined = ensemble(members)
    mean = torch.stack([embedding(m) @ m.gallery.T for m in members]).mean(dim=0)  # [N, T, G]
    torch.testing.assert_close(embedding(joined) @ joined.gallery.T, mean)
    assert joined.features.shape[-1] == (6 + 4 + 4) + (2 + 3 + 5)
    torch.testing.assert_close(joined.features[..., :6] * 6**0.5, bank.features)  # sqrt(2 M), M = 3


def test_late_members_are_heard_towards_the_end(bank: EpisodeBank) -> None:
    bank = replace(bank, lengths=torch.full_like(bank.lengths, 4))
    members = [bank, other(bank), other(bank, 2, dim=5)]
    joined = ensemble(members, late=(0, 2, 0.5))
    steps = bank.features.shape[1]
    for t in range(steps):
        w = [1.0, ((t + 1) / steps) ** 2, ((t + 1) / steps) ** 0.5]
        one = [embedding(m)[:, t] @ m.gallery.T for m in members]  # [N, G] each
        expected = sum(w[m] * one[m] for m in range(3)) / (sum(x * x for x in w) * 3) ** 0.5
        torch.testing.assert_close(embedding(joined)[:, t] @ joined.gallery.T, expected)
    torch.testing.assert_close(joined.features.norm(dim=-1), torch.ones(bank.features.shape[:2]))
    torch.testing.assert_close(joined.features[:, -1], ensemble(members).features[:, -1])


def test_until_a_percentage_each_member_ranks_alone(bank: EpisodeBank) -> None:
    bank = replace(bank, features=bank.features[:, :1].expand(-1, 5, -1), lengths=torch.full_like(bank.lengths, 5))
    members = [replace(bank, features=bank.features.contiguous()), other(bank), other(bank, 2, dim=5)]
    joined = ensemble(members, until=(40, 50, 100))
    for t, m in enumerate([0, 0, 2, 2, 2]):  # 20, 40, 60, 80 and 100 % of the steps
        one = embedding(members[m])[:, t] @ members[m].gallery.T  # [N, G]
        torch.testing.assert_close(embedding(joined)[:, t] @ joined.gallery.T, one / 3**0.5)
    torch.testing.assert_close(joined.features.norm(dim=-1), torch.ones(joined.features.shape[:2]))
    assert not joined.features[:, :2, 6:14].any()  # the others' features are 0


def test_steps_are_those_of_each_drawing(bank: EpisodeBank) -> None:
    """Of 1, 2 and 4 steps: the second member ranks from more than 50 % of a drawing on, not of the longest one."""
    bank = replace(
        bank, features=bank.features[:, :1].expand(-1, 4, -1).contiguous(), lengths=torch.tensor([1, 2, 4, 4, 4])
    )
    members = [bank, replace(other(bank), features=other(bank).features[:, :1].expand(-1, 4, -1).contiguous())]
    one, two = (embedding(member) @ member.gallery.T for member in members)  # [N, T, G], the same in all steps
    joined = ensemble(members, until=(50, 100))
    found = embedding(joined) @ joined.gallery.T
    for n, second in enumerate(([1, 1, 1, 1], [0, 1, 1, 1], [0, 0, 1, 1])):  # 100 | 50 100 | 25 50 75 100 %
        for t, m in enumerate(second):
            torch.testing.assert_close(found[n, t], (one, two)[m][n, t] / 2**0.5)
    joined = ensemble(members, late=(0, 2))
    found = embedding(joined) @ joined.gallery.T
    for n, shares in enumerate(([1, 1, 1, 1], [1 / 2, 1, 1, 1], [1 / 4, 1 / 2, 3 / 4, 1])):
        for t, share in enumerate(shares):
            expected = (one[n, t] + share**2 * two[n, t]) / ((1 + share**4) * 2) ** 0.5
            torch.testing.assert_close(found[n, t], expected)


@pytest.mark.parametrize("until", [(100,), (50, 60), (60, 50), (100, 100), (0, 100), (float("nan"), 100)])
def test_percentages_are_one_a_bank_and_rise_to_100(bank: EpisodeBank, until: tuple[float, ...]) -> None:
    with pytest.raises(ConfigError, match="want a percentage for each of the 2 banks, rising to 100"):
        ensemble([bank, other(bank)], until=until)
    with pytest.raises(ConfigError, match="give one of them"):
        ensemble([bank, other(bank)], late=(0, 4), until=(50, 100))


@pytest.mark.parametrize("late", [(1,), (1, 2, 3), (0, -1), (0, float("nan")), (0, float("inf"))])
def test_exponents_are_one_a_bank_and_not_below_0(bank: EpisodeBank, late: tuple[float, ...]) -> None:
    with pytest.raises(ConfigError, match="want one number, 0 or more, for each of the 2 banks"):
        ensemble([bank, other(bank)], late)


@pytest.mark.parametrize("late", [(60, 60), (1e6, 1e6), (3e38, 3e38)])
def test_what_is_late_in_all_members_cancels(bank: EpisodeBank, late: tuple[float, ...]) -> None:
    """(t/T)^60 underflows where t/T = 1/4, but (1/4)^60 (1, 1) / |(1/4)^60 (1, 1)| is (1, 1) / sqrt(2) all the same."""
    members = [bank, other(bank)]
    assert torch.equal(ensemble(members, late).features, ensemble(members).features)
    mixed = ensemble(members, (60, 3e38)).features  # only the first is heard before the end
    torch.testing.assert_close(mixed[0, 0, :6] * 2**0.5, bank.features[0, 0])
    assert not mixed[0, 0, 6:10].any()


def test_of_one_it_ranks_as_the_one(bank: EpisodeBank) -> None:
    joined = ensemble([bank])
    torch.testing.assert_close(embedding(joined), embedding(bank))
    assert torch.equal(joined.gallery, bank.gallery)


def test_it_is_a_bank_like_any(bank: EpisodeBank, tmp_path: Path) -> None:
    joined = ensemble([bank, other(bank)])
    save_banks(tmp_path / "bank", {"test": joined})
    loaded = EpisodeBank.load(tmp_path / "bank")
    assert torch.equal(loaded.features, joined.features)
    assert [m["data"] for m in loaded.provenance["ensemble"]] == [{"name": "toy"}] * 2


@pytest.mark.parametrize("name", ["sketch_ids", "photo_ids", "targets"])
def test_members_show_the_same(bank: EpisodeBank, name: str) -> None:
    turned = getattr(bank, name)[::-1] if name != "targets" else bank.targets.flip(0)
    with pytest.raises(ConfigError, match=name):
        ensemble([bank, replace(bank, **{name: turned})])
    with pytest.raises(ConfigError, match="at least one"):
        ensemble([])
