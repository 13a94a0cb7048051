"""Training that is taken up again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from sketchless.agents import VPG
from sketchless.benchmarks.training import Training, train
from sketchless.encoders import EpisodeBank
from sketchless.envs import Core

from ..device_double import device_double


def test_a_graph_is_asked_for_again_as_no_file_keeps_it(make_bank: Callable[..., EpisodeBank], tmp_path: Path) -> None:
    file = tmp_path / "agent-0.safetensors"
    with device_double():
        core = Core(make_bank(n=8, steps=5).to("cuda"))
        for given in ({"cuda_graph": True, "episodes": 4}, {"cuda_graph": True, "episodes": 4}, {"episodes": 4}):
            job = Training(VPG, core, None, None, given, 400, file, lambda *_: False)
            assert (job.agent.captured is not None) == ("cuda_graph" in given)
            train(job)
        assert job.done
