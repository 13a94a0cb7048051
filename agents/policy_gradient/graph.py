"""Rollout and update in one CUDA graph: the host starts one piece of work an update instead of some hundreds.

A graph records what is asked of a GPU. A replay asks for it again, with the same memory, and runs no Python. So what
differs between updates stands in tensors that are filled before a replay: the rows of the drawings, the step size, and
the agent's `numbers`. Noise is new each time, as the graph knows the agent's generator.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from sketchless.datasets.errors import ConfigError

from ..batch import Batch
from ..checks import Numbers
from ..policies.linear import LinearGaussianPolicy

if TYPE_CHECKING:
    from .base import PolicyGradient


class Captured:
    """`collect` and `update` of an agent: an update as ever, one that is captured, and from then on replays of it.

    The first makes what a capture cannot: the optimiser's state, workspaces of libraries, compiled kernels. It comes
    again where the agent has other tensors than the graph knows: its state was loaded, or a faulty update undone.

    Args:
        agent: a policy gradient.

    Raises:
        ConfigError: there is no GPU, or an update of the agent cannot be captured.
    """

    def __init__(self, agent: PolicyGradient) -> None:
        if fault := _refusal(agent):
            raise ConfigError(f"cuda_graph: {fault}; leave it out")
        self._agent, device = agent, agent.device
        for group in agent.optimizers["policy"].param_groups:
            # On a GPU, Adam reads a step size of another type as float32.
            group |= {"capturable": True, "lr": torch.zeros((), dtype=torch.float32, device=device)}
        self._rows = torch.zeros(agent.config.episodes, dtype=torch.int64, device=device)  # [B]
        self._numbers = {name: torch.zeros((), dtype=torch.float64, device=device) for name in agent.numbers}
        self._stream = torch.cuda.Stream(device)
        self._known: list[Tensor] = []
        self._graph: torch.cuda.CUDAGraph | None = None

    def collect(self, play: Callable[[], Batch]) -> Batch:
        """The next drawings, whose steps it counts. The numbers of a captured rollout are there after `update`.

        Args:
            play: `collect` without a graph.

        Raises:
            ConfigError: the reward waits for the GPU, as one of your own may.
        """
        agent, tensors = self._agent, self._tensors()
        if len(tensors) != len(self._known) or any(a is not b for a, b in zip(tensors, self._known, strict=True)):
            self._graph = None
            with self._aside():
                return play()
        rows, frames = agent.drawings.draw(agent.config.episodes)
        self._rows.copy_(rows)
        if self._graph is None:
            self._graph = self._capture()
        agent.num_timesteps += agent.config.samples * frames
        return self._batch

    def update(self, batch: Batch) -> Numbers:
        """Learn from what `collect` gave; returns what to log."""
        agent = self._agent
        for group in agent.optimizers["policy"].param_groups:
            group["lr"].fill_(agent.learning_rate)
        if self._graph is None:
            with self._aside():
                logged = agent.run_epochs(batch, agent.numbers)
            self._known = self._tensors()
            return logged
        for name, value in agent.numbers.items():
            self._numbers[name].fill_(value)
        self._graph.replay()
        agent.rollout_means, agent.descents = self._rollout_means, self._descents
        return {**self._logged, **agent.numbers}

    def _capture(self) -> torch.cuda.CUDAGraph:
        agent, graph = self._agent, torch.cuda.CUDAGraph()
        graph.register_generator_state(agent.generator)
        agent.optimizers["policy"].zero_grad(set_to_none=True)  # the graph makes gradients of its own
        try:
            with self._aside(), torch.cuda.graph(graph, stream=self._stream):
                self._batch = agent.batch = agent.rollout(self._rows)
                self._descents = agent.descents = []
                self._logged = agent.run_epochs(self._batch, self._numbers)
        except RuntimeError as error:
            fault = str(error).partition("\n")[0]
            what = f"{agent.name} with reward {agent.core.reward.name!r}"
            raise ConfigError(f"cuda_graph: {what} cannot be captured ({fault}); leave it out") from error
        self._rollout_means = agent.rollout_means
        return graph

    def _tensors(self) -> list[Tensor]:
        """What a graph reads and writes of the agent, and others may replace."""
        agent, optimizer = self._agent, self._agent.optimizers["policy"]
        rates = [group["lr"] for group in optimizer.param_groups]
        states = [value for state in optimizer.state.values() for value in state.values()]
        return [*agent.policy.parameters(), *agent.start, *rates, *states]

    @contextlib.contextmanager
    def _aside(self) -> Iterator[None]:
        """On the stream of the capture, after all that was asked for before, and before all that comes after."""
        here = torch.cuda.current_stream(self._agent.device)
        self._stream.wait_stream(here)
        try:
            with torch.cuda.stream(self._stream), warnings.catch_warnings():
                warnings.filterwarnings("ignore", "This instance was constructed with capturable")  # the next one is
                yield
        finally:
            here.wait_stream(self._stream)


def _refusal(agent: PolicyGradient) -> str | None:
    """Why no update of an agent can be captured, in words."""
    core, kind = agent.core, type(agent)
    if agent.device.type != "cuda":
        return f"needs a GPU, and the environment computes on {agent.device}"
    if not core.bandit:
        return f"actions change what follows in the task {core.task!r}, step by step"
    if core.parts is not None:
        return "the host waits for a gallery in parts"
    if not kind.__module__.startswith(f"{__package__}."):
        return f"{kind.__name__} is not of this package, and may do in Python what no replay does"
    if type(agent.policy) is not LinearGaussianPolicy:
        return f"only the linear policy is captured, not {agent.config.policy!r}"
    return None
