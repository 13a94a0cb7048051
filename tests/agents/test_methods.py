"""What makes each method itself."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sb3_contrib import TRPO as ContribTRPO
from torch import Tensor
from torch.distributions import Independent, Normal, kl_divergence

from sketchless.agents import (
    PPOACKL,
    PPOAKL,
    TRPO,
    VPG,
    LinearGaussianPolicy,
    PPOACClip,
    PPOAClip,
    RankSoftmax,
    RecurrentGaussianPolicy,
    make_agent,
)
from sketchless.agents.actor_critic.base import estimate
from sketchless.agents.actor_critic.trpo import ClosedFormTRPO
from sketchless.agents.gaussian import fisher_product, gaussian_entropy, gaussian_kl, gaussian_log_prob
from sketchless.agents.policy_gradient.grpo import group_advantages
from sketchless.agents.policy_gradient.ppo_a_kl import adapted
from sketchless.benchmarks import evaluate
from sketchless.datasets import CheckpointError, ConfigError, DataError, FormatError
from sketchless.envs import Core
from sketchless.envs.testing import check_causal

SMALL: dict[str, Any] = {"episodes": 4, "samples": 3}


@pytest.fixture
def core(make_bank) -> Core:
    return Core(make_bank(n=10, steps=5))


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


class TestGaussians:
    p, q, s, r = draw(4, 3), draw(4, 3, seed=1), draw(3, seed=2) / 3, draw(3, seed=3) / 3

    def test_kl_equals_torch(self) -> None:
        reference = kl_divergence(
            Independent(Normal(self.p, self.s.exp()), 1), Independent(Normal(self.q, self.r.exp()), 1)
        )
        torch.testing.assert_close(gaussian_kl(self.p, self.s, self.q, self.r), reference)

    def test_kl_with_itself_is_zero_and_by_hand(self) -> None:
        assert gaussian_kl(self.p, self.s, self.p, self.s).abs().max() == 0
        # sigma 1, means 1 apart: 1/2
        assert float(gaussian_kl(torch.zeros(1), torch.zeros(1), torch.ones(1), torch.zeros(1))) == 0.5

    def test_entropy_equals_torch(self) -> None:
        reference = Independent(Normal(self.p[0], self.s.exp()), 1).entropy()
        torch.testing.assert_close(gaussian_entropy(self.s), reference)

    def test_fisher_equals_the_hessian_of_the_divergence(self) -> None:
        x, weight, bias, log_std = draw(6, 4).double(), draw(3, 4).double(), draw(3).double(), self.s.double()
        start = (weight, bias, log_std)

        def divergence(flat: Tensor) -> Tensor:
            w, b, s = (part.view_as(p) for part, p in zip(flat.split([12, 3, 3]), start, strict=True))
            return gaussian_kl(x @ weight.T + bias, log_std, x @ w.T + b, s).mean()

        flat = torch.cat([part.flatten() for part in start])
        vector = draw(18, seed=5).double()
        hessian: Any = torch.autograd.functional.hessian(divergence, flat)
        parts = tuple(v.view_as(p) for v, p in zip(vector.split([12, 3, 3]), start, strict=True))
        product = torch.cat([part.flatten() for part in fisher_product(x, log_std, parts)])
        torch.testing.assert_close(product, hessian @ vector)


def gradient(agent: Any, batch: Any) -> list[Tensor]:
    """What the first step of an update would follow."""
    found: list[Tensor] = []

    def note(loss: Tensor) -> dict[str, float]:
        if not found:
            found.extend(torch.autograd.grad(loss, agent._parameters))
        return {}

    agent.descend = note
    agent.update(batch)
    return found


@pytest.mark.parametrize("agent", [PPOAClip, PPOAKL])
def test_one_epoch_of_ppo_follows_the_gradient_of_reinforce(core: Core, agent: Any) -> None:
    ppo, vpg = agent(core, epochs=1, **SMALL), VPG(core, **SMALL)
    batch = ppo.collect()
    # the divergence from the old policy is flat there, so the penalty adds nothing
    for a, b in zip(gradient(ppo, batch), gradient(vpg, batch), strict=True):
        torch.testing.assert_close(a, b)


class TestKLPenalty:
    @pytest.mark.parametrize(("kl", "beta"), [(0.2, 2.0), (0.01, 0.5), (0.05, 1.0), (0.07, 1.0), (0.04, 1.0)])
    def test_coefficient_by_hand(self, kl: float, beta: float) -> None:
        assert adapted(1.0, kl, 0.05) == beta

    @pytest.mark.parametrize("name", ["ppo-a-kl", "ppo-ac-kl"])
    def test_adapts_once_per_batch(self, core: Core, name: str) -> None:
        agent = make_agent(name, core, epochs=7, learning_rate=1.0, lr_schedule="constant", **SMALL)
        agent.learn(1)  # a wild step: too far
        assert agent.numbers["beta"] == 2 * agent.config.init_beta

    @pytest.mark.parametrize("name", ["ppo-a-kl", "ppo-ac-kl"])
    def test_a_heavy_penalty_holds_the_policy(self, core: Core, name: str) -> None:
        def moved(beta: float) -> float:
            agent = make_agent(name, core, epochs=8, init_beta=beta, lr_schedule="constant", **SMALL)
            batch = agent.collect()
            agent.update(batch)
            kl = gaussian_kl(batch.mean, batch.log_std, agent.policy(batch.observation), agent.policy.log_std)
            return float(kl.mean())

        assert moved(1e4) < moved(1e-4) / 2


class TestTRPO:
    def test_steps_obey_the_bound_and_move_every_actor_parameter(self, make_bank) -> None:
        agent = TRPO(Core(make_bank(n=10, steps=5)), target_kl=0.02, **SMALL)
        successes = 0
        for _ in range(20):
            before = [p.detach().clone() for p in agent.policy.parameters()]
            batch = agent.collect()
            agent.update(batch)
            mean, log_std = agent.policy(batch.observation), agent.policy.log_std
            assert float(gaussian_kl(mean, log_std, batch.mean, batch.log_std).mean()) <= 0.02 * (1 + 1e-4)
            changed = [not torch.equal(p, q) for p, q in zip(agent.policy.parameters(), before, strict=True)]
            assert all(changed) or not any(changed)
            successes += all(changed)
        assert successes >= 15

    def test_closed_form_steps_as_the_library_does(self, core: Core, monkeypatch: pytest.MonkeyPatch) -> None:
        def stepped() -> list[Tensor]:
            agent = TRPO(core, **SMALL)
            agent.update(agent.collect())
            return [p.detach() for p in agent.policy.parameters()]

        ours = stepped()
        monkeypatch.setattr(ClosedFormTRPO, "hessian_vector_product", ContribTRPO.hessian_vector_product)
        for a, b in zip(ours, stepped(), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)


class TestActorCritic:
    def test_estimates_equal_a_plain_loop(self, make_bank) -> None:
        agent = PPOACClip(Core(make_bank(n=6, steps=5, lengths=[5, 3, 1, 5, 2, 4])), **SMALL)
        batch = agent.collect()
        values = draw(4, 5)
        found, returns = estimate(batch, values, 0.9, 0.8)
        for k in range(3):
            for b in range(4):
                steps = int(batch.valid[b].sum())
                ahead = 0.0
                for t in reversed(range(steps)):
                    following = float(values[b, t + 1]) if t + 1 < steps else 0.0
                    ahead = float(batch.reward[k, b, t]) + 0.9 * following - float(values[b, t]) + 0.9 * 0.8 * ahead
                    assert float(found[k, b, t]) == pytest.approx(ahead, abs=1e-5)
                    assert float(returns[k, b, t]) == pytest.approx(ahead + float(values[b, t]), abs=1e-5)

    def test_critic_learns_what_states_pay(self, core: Core) -> None:
        agent = PPOACClip(core, learning_rate=1e-2, lr_schedule="constant", **SMALL)
        batch = agent.collect()
        losses = [agent.update(batch)["value_loss"] for _ in range(60)]
        assert losses[-1] < losses[0] / 5

    def test_per_state_values_give_the_gradient_of_per_sample_ones(self) -> None:
        values, returns = draw(5).requires_grad_(), draw(3, 5, seed=1)
        (ours,) = torch.autograd.grad((values - returns.mean(dim=0)).square().mean(), values)
        (theirs,) = torch.autograd.grad((values - returns).square().mean(), values)
        torch.testing.assert_close(ours, theirs)

    @pytest.mark.parametrize("samples", [1, 3])
    def test_update_is_that_of_the_library_on_flat_samples(self, core: Core, samples: int) -> None:
        """One step of stable-baselines3's PPO on K copies of every state gives the same actor."""
        settings = {**SMALL, "samples": samples, "epochs": 1}
        ours, flat = PPOACClip(core, **settings), PPOACClip(core, normalize_advantage=False, **settings)
        flat.algorithm.normalize_advantage = True
        batch = ours.collect()
        flat.collect()  # the same draws
        plain = flat.samples

        def spread(b: Any) -> Any:
            s = plain(b)
            copies = s.observations.repeat(samples, 1)
            return s._replace(
                observations=copies,
                actions=s.actions.flatten(0, 1),
                old_log_prob=s.old_log_prob.flatten(),
                advantages=s.advantages.flatten(),
                old_values=s.old_values.repeat(samples),
                returns=s.returns.repeat(samples),
            )

        flat.samples = spread
        ours.update(batch)
        flat.update(batch)
        for a, b in zip(ours.policy.parameters(), flat.policy.parameters(), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)

    def test_what_it_does_not_know_is_refused(self, core: Core, refuses) -> None:
        with refuses(ConfigError, "knows only linear"):
            TRPO(core, policy="gru")
        with refuses(ConfigError, "does not read"):
            TRPO(core, weight_decay=0.1)

    @pytest.mark.parametrize("broken", ["returns", "advantages"])
    @pytest.mark.parametrize("agent", [PPOACClip, PPOACKL, TRPO])
    def test_a_critic_gone_wrong_stops_and_changes_nothing(self, core: Core, refuses, agent: Any, broken: str) -> None:
        agent = agent(core, **SMALL)
        agent.learn(100)
        samples = agent.samples

        def wrong(batch: Any) -> Any:
            found = samples(batch)
            return found._replace(**{broken: torch.full_like(getattr(found, broken), float("nan"))})

        agent.samples = wrong
        before = [p.detach().clone() for module in agent.modules.values() for p in module.parameters()]
        with refuses(DataError, "not finite|is nan"):
            agent.learn(100)
        after = [p for module in agent.modules.values() for p in module.parameters()]
        assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))


def test_group_advantages_by_hand() -> None:
    reward = torch.tensor([[[1.0, 2.0, 0.0]], [[3.0, 2.0, 9.0]]])  # [K=2, B=1, T=3]
    found = group_advantages(reward, torch.tensor([[1.0, 1.0, 0.0]]))
    assert found.tolist() == [[[-1.0, 0.0, 0.0]], [[1.0, 0.0, 0.0]]]


class TestRankSoftmax:
    @pytest.mark.parametrize("mode", ["residual", "absolute"])
    def test_embedding_is_that_of_the_core(self, make_bank, mode: str) -> None:
        agent = RankSoftmax(Core(make_bank(), mode=mode))
        with torch.no_grad():
            agent.policy.mean.weight.copy_(draw(*agent.policy.mean.weight.shape))
            batch = agent.collect()
            exact = agent.core.refine(agent.core.base[batch.sketches], agent.policy(batch.observation))
            torch.testing.assert_close(agent.embedding(batch).double(), exact, rtol=1e-5, atol=1e-6)

    def test_loss_by_hand(self, core: Core) -> None:
        agent = RankSoftmax(core)
        batch = agent.collect()
        embedding = agent.core.base[batch.sketches[0], 2]
        shares = [math.exp(float(embedding @ photo) / 0.07) for photo in agent.core.gallery]
        own = shares[int(core.bank.targets[batch.sketches[0]])]
        assert float(agent.loss(batch)[0, 2]) == pytest.approx(-math.log(own / sum(shares)), rel=1e-4)


class TestMemory:
    def test_begins_as_the_linear_policy_does(self, core: Core) -> None:
        agent = PPOAClip(core, policy="gru")
        assert isinstance(agent.policy, RecurrentGaussianPolicy)
        assert agent.policy(core.frames).abs().max() == 0

    def test_whole_drawings_equal_frame_by_frame(self, core: Core) -> None:
        agent = PPOAClip(core, policy="gru", **SMALL).learn(600)
        with torch.no_grad():
            whole, state = agent.policy(core.frames), None
            for t in range(core.n_steps):
                mean, state = agent.policy.step(core.frames[:, t], state)
                torch.testing.assert_close(mean, whole[:, t], rtol=1e-4, atol=1e-6)
        assert len({tuple(row) for row in np.round(whole[0].numpy(), 6).tolist()}) > 1

    def test_evaluates_as_it_validates(self, make_bank) -> None:
        bank = make_bank()
        agent = PPOAClip(Core(bank), policy="gru", learning_rate=1e-2, **SMALL).learn(2000)
        assert evaluate(agent, bank).m_at_b == pytest.approx(agent.validate(Core(bank, "inv-rank"))[1], abs=0.5)

    def test_is_causal(self, make_bank) -> None:
        bank = make_bank()
        agent = PPOAClip(Core(bank), policy="gru", learning_rate=1e-2, **SMALL).learn(1000)

        def play(frames: Any) -> Any:
            with torch.no_grad():
                return agent.policy(torch.as_tensor(frames)).numpy()

        check_causal(play, bank.features.numpy())

    def test_forgets_at_the_start_of_an_episode(self, core: Core) -> None:
        agent = PPOAClip(core, policy="gru", learning_rate=1e-2, **SMALL).learn(1000)
        frame = core.frames[:2, 0].numpy()
        fresh, state = agent.predict(frame, deterministic=True)
        kept, _ = agent.predict(frame, state, np.array([False, False]), deterministic=True)
        begun, _ = agent.predict(frame, state, np.array([True, False]), deterministic=True)
        np.testing.assert_allclose(begun[0], fresh[0], atol=1e-6)
        assert np.abs(kept - fresh).max() > 1e-6
        np.testing.assert_allclose(begun[1], kept[1], atol=1e-6)


class TestReleasedPolicy:
    def save(self, path: Path, **changed: Any) -> Path:
        tensors = {"actor.weight": draw(8, 32), "actor.bias": draw(8), "action_log_std": torch.full((8,), -1.0)}
        torch.save(tensors | changed, path)
        return path

    def test_loads_with_log_variance_as_log_sigma(self, tmp_path: Path) -> None:
        policy = LinearGaussianPolicy.from_released(self.save(tmp_path / "policy.pth"))
        assert torch.equal(policy.mean.weight, draw(8, 32))
        # the log-probability of the released code: variance exp(action_log_std)
        action = draw(8, seed=4)
        reference = Normal(policy(draw(32)), math.exp(-0.5)).log_prob(action).sum()
        torch.testing.assert_close(gaussian_log_prob(action, policy(draw(32)), policy.log_std), reference)

    def test_faults_are_one_line(self, tmp_path: Path, refuses) -> None:
        path = tmp_path / "policy.pth"
        with refuses(CheckpointError, "cannot be read"):
            LinearGaussianPolicy.from_released(path)
        with refuses(FormatError, "do not fit together"):
            LinearGaussianPolicy.from_released(self.save(path, **{"actor.bias": draw(7)}))
        with refuses(FormatError, "NaN"):
            LinearGaussianPolicy.from_released(self.save(path, **{"actor.bias": draw(8) / 0}))
        with refuses(FormatError, "want the tensors"):
            LinearGaussianPolicy.from_released(self.save(path, more=draw(1)))

    @pytest.mark.parametrize(
        ("part", "fault"),
        [
            (7, "a int"),
            ([1.0] * 8, "a list"),
            (torch.ones(8, dtype=torch.int64), "int64"),
            (torch.ones(8, dtype=torch.complex64), "complex64"),
            (torch.ones(8).to_sparse(), "sparse"),
            (torch.ones(8, device="meta"), "meta"),
            (torch.ones(1).expand(1 << 40), "more than the file holds"),
        ],
    )
    @pytest.mark.parametrize("name", ["actor.weight", "actor.bias", "action_log_std"])
    def test_other_things_than_plain_tensors_are_refused(
        self, tmp_path: Path, refuses, name: str, part: Any, fault: str
    ) -> None:
        with refuses(CheckpointError, f"{name} is .*{fault}"):
            LinearGaussianPolicy.from_released(self.save(tmp_path / "policy.pth", **{name: part}))

    def test_never_runs_code(self, tmp_path: Path, refuses) -> None:
        class Evil:
            def __reduce__(self) -> Any:
                return (open, (str(tmp_path / "ran"), "w"))

        torch.save(Evil(), tmp_path / "evil.pth")
        with refuses(CheckpointError, "cannot be read"):
            LinearGaussianPolicy.from_released(tmp_path / "evil.pth")
        assert not (tmp_path / "ran").exists()
