"""Encoder files that others made."""

from __future__ import annotations

import json
import random
import socket
import sys
import zlib
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from sketchless.datasets import CheckpointError, ConfigError, SketchlessError, UnsafeFileError
from sketchless.encoders import Encoder, EncoderConfig, load_encoder, make_encoder
from sketchless.encoders.networks.backbones import SmallCNN
from sketchless.encoders.tensorfile import load_tensors, save_tensors

IMAGES = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def write(path: Path, tensors: dict[str, torch.Tensor], about: Any) -> None:
    """A file with a description that `save_tensors` would not write."""
    text = json.dumps(about)
    save_file(tensors, path, {"sketchless": f"{zlib.crc32(text.encode()):08x} {text}"})


class Largest(TorchDispatchMode):
    """Bytes of the largest tensor that is made, other than on the meta device."""

    size = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for x in tree_leaves(out):
            if isinstance(x, torch.Tensor) and x.device.type != "meta":
                self.size = max(self.size, x.untyped_storage().nbytes())
        return out


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """File of an encoder on the backbone `patches_of_mine:net`, whose import leaves a trace."""
    (tmp_path / "patches_of_mine.py").write_text(
        "from sketchless.encoders.networks.backbones import SmallCNN as net\nopen(__file__ + '.ran', 'w').close()\n"
    )
    sys.modules.pop("patches_of_mine", None)
    monkeypatch.syspath_prepend(tmp_path)
    make_encoder(EncoderConfig("patches_of_mine:net", 32, 4)).save(tmp_path / "mine")
    monkeypatch.delitem(sys.modules, "patches_of_mine")
    (tmp_path / "patches_of_mine.py.ran").unlink()
    return tmp_path / "mine"


def test_code_that_a_file_names_runs_only_if_the_user_trusts_it(mine: Path, refuses: Any) -> None:
    for trust in ((), ["patches_of_mine"], ["patches_of_mine:other"], ["manifold:patches_of_mine:net"]):
        with refuses(UnsafeFileError, "mine: its backbone 'patches_of_mine:net' .*--trust 'patches_of_mine:net'"):
            load_encoder(mine, "cpu", trust)
        assert not mine.with_name("patches_of_mine.py.ran").exists()
    assert isinstance(load_encoder(mine, "cpu", ["patches_of_mine:net"]).backbone, SmallCNN)
    assert mine.with_name("patches_of_mine.py.ran").exists()


@pytest.mark.parametrize(
    "name", ["os:system", "manifold:os:system", "manifold:manifold-apart:os:system", ":", "builtins:eval"]
)
def test_no_name_reaches_code(name: str, mine: Path, refuses: Any) -> None:
    tensors, meta = load_tensors(mine, "encoder")
    save_tensors(mine, "encoder", tensors, {**meta, "config": {**meta["config"], "backbone": name}})
    with refuses(UnsafeFileError, "--trust"):
        load_encoder(mine, "cpu")


def test_an_unknown_name_is_one_line(mine: Path, refuses: Any) -> None:
    tensors, meta = load_tensors(mine, "encoder")
    save_tensors(mine, "encoder", tensors, {**meta, "config": {**meta["config"], "backbone": "smal-cnn"}})
    with refuses(ConfigError, "did you mean 'small-cnn'"):
        load_encoder(mine, "cpu")


NAMES = ["small-cnn", "manifold", "manifold-apart", "sketch-a-net", "dssa", "zse"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("change", [{"dim": 65_536}, {"size": 1024}, {"attention": True}, {"size": 96, "dim": 5}])
def test_a_file_costs_no_more_than_its_size(name: str, change: dict[str, Any], tmp_path: Path, refuses: Any) -> None:
    size = 96 if name in ("sketch-a-net", "dssa") else 32
    encoder = make_encoder(EncoderConfig(name, size, 4))
    about = {"config": {**asdict(encoder.config), **change}, "rebuild": encoder.rebuild}
    save_tensors(tmp_path / "encoder", "encoder", encoder.state_dict(), about)
    room = (tmp_path / "encoder").stat().st_size + (1 << 16)
    if name in ("small-cnn", "manifold", "manifold-apart") and change == {"size": 1024}:  # as many weights for any size
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Encoder, "_try", lambda self: None)  # one image of that size
            with Largest() as largest:
                assert load_encoder(tmp_path / "encoder", "cpu").config.size == 1024
    elif name in ("dssa", "zse") and "attention" in change:
        largest = Largest()
        with largest, refuses(ConfigError, "has its own attention"):
            load_encoder(tmp_path / "encoder", "cpu")
    else:
        largest = Largest()
        with largest, refuses(CheckpointError, "do not fit|larger network"):
            load_encoder(tmp_path / "encoder", "cpu")
    assert largest.size < room


@pytest.mark.parametrize("name", [*NAMES, "hf"])
def test_what_is_loaded_is_what_was_saved(name: str, folders: Any, tmp_path: Path) -> None:
    size = 96 if name in ("sketch-a-net", "dssa") else 32
    encoder = make_encoder(EncoderConfig(f"hf:{folders['vit']}" if name == "hf" else name, size, 4)).eval()
    encoder.save(tmp_path / "encoder")
    again = load_encoder(tmp_path / "encoder", "cpu")
    images = torch.nn.functional.interpolate(IMAGES, size=(size, size))
    with torch.no_grad():
        assert torch.equal(again(images), encoder(images))
    again.save(tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == (tmp_path / "encoder").read_bytes()


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Folders of tiny transformers models."""
    hf = pytest.importorskip("transformers")
    layers = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    models = {
        "vit": lambda: hf.ViTModel(hf.ViTConfig(**layers, image_size=32, patch_size=16)),
        "resnet": lambda: hf.ResNetModel(
            hf.ResNetConfig(embedding_size=4, hidden_sizes=[4, 8], depths=[1, 1], layer_type="basic")
        ),
    }
    found = {}
    for name, make in models.items():
        found[name] = tmp_path_factory.mktemp(name)
        with torch.random.fork_rng(devices=[]):
            make().save_pretrained(found[name])
    return found


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Addresses that were asked for; none answers."""
    asked: list[Any] = []

    def connect(*where: Any, **more: Any) -> Any:
        asked.append(where)
        raise OSError("no network here")

    for name in ("connect", "connect_ex"):
        monkeypatch.setattr(socket.socket, name, connect)
    monkeypatch.setattr(socket, "getaddrinfo", connect)
    monkeypatch.setattr(socket, "create_connection", connect)
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    constants = pytest.importorskip("huggingface_hub.constants")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    return asked


HOSTILE: list[dict[str, Any]] = [
    {"num_hidden_layers": 10**6},
    {"num_hidden_layers": 10**9},
    {"hidden_size": 10**5},
    {"image_size": 10**5},
    {"image_size": [10**5, 10**5]},
    {"image_size": []},
    {"model_type": "no such"},
    {"model_type": ["vit"]},
    {"model_type": "timm_wrapper", "architecture": "hf_hub:some/model"},
    {"model_type": "timm_wrapper", "architecture": "hf-hub:some/model"},
    {"model_type": "dpt", "backbone": "microsoft/resnet-50"},
    {"model_type": "detr", "backbone": "resnet50", "use_pretrained_backbone": True},
    {"model_type": "detr", "use_timm_backbone": False, "backbone": "microsoft/resnet-50", "backbone_config": None},
    {"image_std": [0.0]},
    {"image_std": [1.0, 0.0, 1.0]},
    {"image_mean": []},
    {"image_mean": "abc"},
    {"image_mean": [[1.0]]},
    {"hidden_act": "no such"},
    {"num_channels": 0},
]


@pytest.mark.parametrize("change", HOSTILE, ids=str)
def test_hostile_descriptions_of_hf_models(
    change: dict[str, Any], folders: dict[str, Path], no_network: list[Any], tmp_path: Path
) -> None:
    encoder = make_encoder(EncoderConfig(f"hf:{folders['vit']}", 32, 4))
    no_network.clear()
    about = {"config": asdict(encoder.config), "rebuild": {**encoder.rebuild, **change}}
    save_tensors(tmp_path / "encoder", "encoder", encoder.state_dict(), about)
    with Largest() as largest, pytest.raises(SketchlessError) as caught:
        load_encoder(tmp_path / "encoder", "cpu")
    assert str(caught.value).isprintable()
    assert largest.size < (tmp_path / "encoder").stat().st_size + (1 << 16)
    assert not no_network


@pytest.mark.parametrize(
    "change",
    [
        {"num_labels": 10**9},
        {"auto_map": {"AutoModel": "some/model--code.Model"}},
        {"attn_implementation": "kernels-community/flash-attn"},
        {"_attn_implementation": "kernels-community/flash-attn"},
        {"quantization_config": {"quant_method": "bitsandbytes", "load_in_8bit": True}},
    ],
    ids=str,
)
def test_settings_that_reach_for_more_are_left_out(
    change: dict[str, Any], folders: dict[str, Path], no_network: list[Any], tmp_path: Path
) -> None:
    encoder = make_encoder(EncoderConfig(f"hf:{folders['vit']}", 32, 4)).eval()
    no_network.clear()
    about = {"config": asdict(encoder.config), "rebuild": {**encoder.rebuild, **change}}
    save_tensors(tmp_path / "encoder", "encoder", encoder.state_dict(), about)
    again = load_encoder(tmp_path / "encoder", "cpu")
    with torch.no_grad():
        assert torch.equal(again(IMAGES), encoder(IMAGES))
    assert not no_network


@pytest.mark.parametrize("name", ["small-cnn", "zse", "vit", "resnet"])
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
@given(draw=st.randoms(use_true_random=False))
def test_damaged_descriptions(
    name: str, draw: random.Random, mutated: Any, folders: dict[str, Path], tmp_path: Path
) -> None:
    file = tmp_path / "encoder"
    if not file.exists():
        make_encoder(EncoderConfig(f"hf:{folders[name]}" if name in folders else name, 32, 4)).save(file)
    tensors, meta = load_tensors(file, "encoder")
    write(tmp_path / "damaged", tensors, mutated(meta, draw))
    try:
        encoder = load_encoder(tmp_path / "damaged", "cpu")
    except SketchlessError as error:
        assert str(error).isprintable()  # noqa: PT017
    else:
        with torch.no_grad():
            assert torch.isfinite(encoder(torch.zeros(1, 3, encoder.config.size, encoder.config.size))).all()


@pytest.mark.parametrize("kind", [torch.float8_e4m3fn, torch.complex64, torch.bool, torch.float64, torch.bfloat16])
def test_weights_of_another_type(kind: torch.dtype, tmp_path: Path, refuses: Any) -> None:
    make_encoder(EncoderConfig(size=32, dim=4)).save(tmp_path / "encoder")
    tensors, meta = load_tensors(tmp_path / "encoder", "encoder")
    save_tensors(tmp_path / "encoder", "encoder", {**tensors, "head.bias": torch.zeros(4).to(kind)}, meta)
    with refuses(CheckpointError, "do not fit.*head.bias is"):
        load_encoder(tmp_path / "encoder", "cpu")


def test_rounded_weights_take_half_and_come_back_as_they_were(tmp_path: Path) -> None:
    encoder = make_encoder(EncoderConfig("small-cnn", 32, 64)).eval()
    encoder.save(tmp_path / "whole")
    with torch.no_grad():
        encoder.head.weight[0, 0] = 1 + 2**-11  # halfway between 1 and the next float16, 1 + 2^-10: to even, 1
    encoder.round_to_half()
    assert encoder.head.weight[0, 0] == 1
    encoder.save(tmp_path / "half")
    assert (tmp_path / "half").stat().st_size < 0.55 * (tmp_path / "whole").stat().st_size
    again = load_encoder(tmp_path / "half", "cpu")
    assert {weight.dtype for weight in again.parameters()} == {torch.float32}
    images = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.equal(again(images), encoder(images))
    again.save(tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == (tmp_path / "half").read_bytes()


def test_weights_beyond_half_precision_are_refused() -> None:
    encoder = make_encoder(EncoderConfig("small-cnn", 32, 4))
    with torch.no_grad():
        encoder.head.weight[1, 2] = 65_520  # rounds to infinity; 65,519 to 65,504
    with pytest.raises(ConfigError, match=r"head\.weight has weights beyond 65,504"):
        encoder.round_to_half()
