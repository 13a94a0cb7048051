"""Several processes train as one: forked ones, or this script under `torchrun`, and beside them one process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from sketchless.datasets import ConfigError, SketchDataset
from sketchless.encoders import EncoderConfig, Stage1Config, make_encoder, train_stage1
from sketchless.encoders.distributed import anyone, gather, rank, torchrun, world
from sketchless.encoders.training.stage1 import _Stage1

HERE = Path(__file__).parent
TRIED = [  # encoder, size, loss
    ("small-cnn", 32, "contrastive"),
    ("small-cnn", 32, "triplet"),
    ("manifold", 32, "contrastive"),
    ("manifold-apart", 32, "contrastive"),
    ("dssa", 81, "triplet-squared"),
]


def trained(dataset: SketchDataset, name: str, size: int, loss: str) -> dict[str, list[float]]:
    """Gradient of a batch of 8 pairs, thinned if long, and the losses of one or two epochs of four such batches."""
    config = Stage1Config(
        epochs=2 if name == "small-cnn" else 1, batch=8, loss=loss, frames="random", learning_rate=3e-4
    )
    encoder = make_encoder(EncoderConfig(name, size=size, dim=8))
    stage1 = _Stage1(encoder, dataset, config, "points", 20)
    stage1._loss(torch.arange(8), torch.Generator().manual_seed(0)).backward()  # type: ignore[no-untyped-call]
    gradient = torch.cat([p.grad.flatten() for p in encoder.parameters() if p.grad is not None])
    encoder.zero_grad()
    history = train_stage1(encoder, dataset, config).history
    return {
        "gradient": gradient[:: 1 + len(gradient) // 20_000].tolist(),
        "losses": [entry["loss"] for entry in history],
    }


def by_torchrun(dataset: SketchDataset, out: Path) -> None:
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run([*launch, __file__, str(out)], capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr[-2000:]


def by_fork(dataset: SketchDataset, out: Path) -> None:
    """In processes that need not import everything again, with the variables that torchrun sets."""
    store = torch.distributed.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    shared = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(store.port)}
    shared["TORCHELASTIC_USE_AGENT_STORE"] = "True"  # the store is here already
    children = []
    for number in "01":
        if child := os.fork():
            children.append(child)
            continue
        try:
            os.environ.update(shared, RANK=number, LOCAL_RANK=number)
            share(dataset, out)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    assert [os.waitpid(child, 0)[1] for child in children] == [0, 0]


@pytest.mark.parametrize("start", [by_fork, pytest.param(by_torchrun, marks=pytest.mark.slow)])
def test_two_processes_have_the_loss_curve_of_one_with_the_doubled_batch(
    start: Callable[[SketchDataset, Path], None], polygons: SketchDataset, tmp_path: Path
) -> None:
    """Of a batch of 8 each of the two processes sees 4 pairs; negatives come from all 8."""
    start(polygons, tmp_path)
    for case in TRIED:
        alone = trained(polygons, *case)
        for number in (0, 1):
            together = json.loads((tmp_path / f"{number}.json").read_text())
            assert together[str(case)]["gradient"] == pytest.approx(alone["gradient"], rel=1e-3, abs=1e-5)
            assert together[str(case)]["losses"] == pytest.approx(alone["losses"], rel=1e-3)
            assert together["gathered"] == [[0.0], [10.0]]
            assert together["gradient"] == [[4.0]]  # 2 processes, each with the gradient 2 of the whole
            assert together["anyone"] == [True, False]


def test_alone_nothing_is_gathered() -> None:
    part = torch.ones(3, 2)
    assert gather(part) is part
    assert (world(), rank()) == (1, 0)
    assert anyone(True)
    assert not anyone(False)
    with torchrun() as device:
        assert device is None


def share(dataset: SketchDataset, out: Path) -> None:
    """What one of two processes finds, written to a file of its own."""
    torch.set_num_threads(1)
    with torchrun() as device:
        assert device == torch.device("cpu")
        own = torch.full((1, 1), 10.0 * rank(), requires_grad=True)
        whole = gather(own)
        (2 * whole.sum()).backward()  # type: ignore[no-untyped-call]
        assert own.grad is not None
        found: dict[str, object] = {"gathered": whole.tolist(), "gradient": own.grad.tolist()}
        found["anyone"] = [anyone(rank() == 1), anyone(False)]
        found |= {str(case): trained(dataset, *case) for case in TRIED}
        (out / f"{rank()}.json").write_text(json.dumps(found))


@pytest.mark.parametrize("stale", [["LOCAL_RANK"], ["RANK"], ["LOCAL_RANK", "RANK", "WORLD_SIZE"]])
def test_ranks_that_another_program_left_behind_are_ignored(stale: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    for name in stale:
        monkeypatch.setenv(name, "3")
    with torchrun() as device:
        assert device is None
        assert world() == 1


@pytest.mark.parametrize("change", [{"LOCAL_RANK": "one"}, {"RANK": "x"}, {"MASTER_PORT": "no"}, {"WORLD_SIZE": "-1"}])
def test_variables_that_lead_nowhere_are_one_line(
    change: dict[str, str], monkeypatch: pytest.MonkeyPatch, refuses: Any
) -> None:
    good = {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "0"}
    for name, value in {**good, **change}.items():
        monkeypatch.setenv(name, value)
    with refuses(ConfigError, "unset"), torchrun():
        pass


def main(out: Path) -> None:
    sys.path.insert(0, str(HERE))
    from conftest import photo, split

    splits = {"train": split(0, 16), "validation": split(100, 8), "test": split(200, 4)}
    share(SketchDataset("polygons", {"name": "polygons", "root": "here"}, splits, photo, {}), out)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
