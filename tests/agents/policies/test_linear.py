import math

import pytest
import torch

from sketchless.agents import LinearGaussianPolicy
from sketchless.agents.gaussian import gaussian_log_prob
from sketchless.envs.core import Core


def test_log_prob_equals_torch_distributions() -> None:
    generator = torch.Generator().manual_seed(0)
    mean, action = torch.randn(2, 3, 4, 5, generator=generator)
    log_std = torch.randn(5, generator=generator)
    reference = torch.distributions.Normal(mean, log_std.exp()).log_prob(action).sum(-1)
    torch.testing.assert_close(gaussian_log_prob(action, mean, log_std), reference)


def plain_log_prob(action: torch.Tensor, mean: torch.Tensor, log_std: torch.Tensor) -> torch.Tensor:
    z = (action - mean) * torch.exp(-log_std)
    return -0.5 * z.square().sum(-1) - log_std.sum() - 0.5 * math.log(2 * math.pi) * action.shape[-1]


@pytest.mark.parametrize("shape", [(16, 16, 20, 64), (1, 3, 2, 5), (4, 1, 1, 1), (3, 7, 8), (4, 3), (1, 1)])
@pytest.mark.parametrize("strided", [False, True])
def test_closed_form_gradient_equals_autograd(shape: tuple[int, ...], strided: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    action = torch.randn(shape, generator=generator)
    mean = torch.randn(shape[1:], generator=generator).requires_grad_()
    log_std = (0.3 * torch.randn(shape[-1], generator=generator)).requires_grad_()
    weight = torch.randn(shape[:-1], generator=generator).double()
    if strided:
        weight = weight.flip(0).transpose(0, -1).contiguous().transpose(0, -1)

    def gradient(log_prob: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return torch.autograd.grad((log_prob.exp().clamp_max(2) * log_prob * weight).sum(), (mean, log_std))

    ours, theirs = gaussian_log_prob(action, mean, log_std), plain_log_prob(action, mean, log_std)
    torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-5)
    for a, b in zip(gradient(ours), gradient(theirs), strict=True):
        assert float((a - b).abs().max()) <= 1e-6 * max(float(b.abs().max()), 1)


def test_closed_form_gradient_equals_differences() -> None:
    generator = torch.Generator().manual_seed(0)
    action, mean = torch.randn(3, 2, 4, generator=generator).double(), torch.randn(2, 4, generator=generator).double()
    inputs = (mean.requires_grad_(), torch.zeros(4, dtype=torch.float64, requires_grad=True))
    assert torch.autograd.gradcheck(lambda m, s: gaussian_log_prob(action, m, s), inputs)


def test_a_second_derivative_is_refused() -> None:
    mean, log_std = torch.zeros(2, 4, requires_grad=True), torch.zeros(4)
    squared = gaussian_log_prob(torch.ones(3, 2, 4), mean, log_std).square().sum()
    (first,) = torch.autograd.grad(squared, mean, create_graph=True)
    with pytest.raises(RuntimeError, match="differentiate twice"):
        first.sum().backward()


def test_log_prob_of_the_mean_by_hand() -> None:
    # d = 2, sigma = 1: log p = -log(2 pi)
    value = gaussian_log_prob(torch.ones(2), torch.ones(2), torch.zeros(2))
    assert float(value) == pytest.approx(-math.log(2 * math.pi))


def test_log_prob_of_samples_of_one_state_by_hand() -> None:
    """d = 3, sigma = 1, |a|^2 = 0 and 14: log p = -|a|^2 / 2 - 3/2 log(2 pi)."""
    value = gaussian_log_prob(torch.tensor([[0.0, 0, 0], [1, 2, -3]]), torch.zeros(3), torch.zeros(3))
    assert value.tolist() == pytest.approx([-1.5 * math.log(2 * math.pi), -7 - 1.5 * math.log(2 * math.pi)])


@pytest.mark.parametrize("mode", ["residual", "absolute"])
@pytest.mark.parametrize("observation", ["feature", "embedding"])
def test_a_fresh_policy_ranks_as_the_frozen_encoder(make_bank, mode: str, observation: str) -> None:
    bank = make_bank()
    core = Core(bank, "inv-rank", mode, observation)
    policy = LinearGaussianPolicy(core.observation_dim, core.action_dim)
    policy.start_from_baseline(core)
    sketches = torch.arange(len(bank))
    with torch.no_grad():
        found = core.score(sketches, policy(core.observations(sketches))).rank
    baseline = Core(bank, "inv-rank", "residual").score(sketches, torch.zeros(len(bank), core.n_steps, core.action_dim))
    assert (found == baseline.rank).double().mean() > 0.99  # float32 head against float64: near ties may turn


def test_mean_norm_sets_the_length_of_the_mean_action(make_bank) -> None:
    core = Core(make_bank(), "inv-rank", "absolute")
    policy = LinearGaussianPolicy(core.observation_dim, core.action_dim)
    policy.start_from_baseline(core, mean_norm=3.0)
    with torch.no_grad():
        lengths = policy(core.frames).norm(dim=-1)
    assert float(lengths.mean()) == pytest.approx(3.0, rel=1e-5)


def test_mean_norm_none_leaves_the_head_as_it_is(make_bank) -> None:
    bank = make_bank()
    core = Core(bank, "inv-rank", "absolute")
    policy = LinearGaussianPolicy(core.observation_dim, core.action_dim)
    policy.start_from_baseline(core, mean_norm=None)
    assert torch.equal(policy.mean.weight, bank.weight)
    assert torch.equal(policy.mean.bias, bank.bias)
