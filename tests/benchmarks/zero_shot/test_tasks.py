"""The three zero-shot tasks: metrics by hand, chance by brute force, the command on a toy set."""

from __future__ import annotations

import itertools
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from PIL import Image, ImageDraw

from sketchless.benchmarks.cli import main
from sketchless.benchmarks.zero_shot.tasks import by_category, by_instance, unseen, zero_shot
from sketchless.datasets import ConfigError, DataError, Sketch, SketchDataset, Split, loading
from sketchless.encoders import ZSE, Encoder, EncoderConfig, EpisodeBank, Frames
from sketchless.encoders.networks.vit import Sizes

CORNERS = {"triangle": 3, "square": 4, "pentagon": 5, "circle": 40}
PHOTOS = 6  # of each category


def ring(name: str) -> npt.NDArray[np.float64]:
    """Corners [k, 2] of the shape in a photo such as `square-3`, on a 256 px canvas."""
    kind, number = name.split("-")
    rng = np.random.default_rng([CORNERS[kind], int(number)])
    angle = np.arange(CORNERS[kind]) * 2 * np.pi / CORNERS[kind] + rng.uniform(0, 1)
    return rng.uniform(90, 160, 2) + rng.uniform(40, 80) * np.stack([np.cos(angle), np.sin(angle)], 1)


def photo(name: str) -> npt.NDArray[np.uint8]:
    image = Image.new("RGB", (64, 64), (220, 210, 200))
    ImageDraw.Draw(image).polygon([(x, y) for x, y in (ring(name) / 4).tolist()], (70, 90, 40))
    return np.asarray(image).copy()


def split(*kinds: str) -> Split:
    names = tuple(f"{kind}-{i}" for kind in kinds for i in range(PHOTOS))
    sketches = [Sketch.from_strokes([np.vstack([ring(n), ring(n)[:1]])], f"{n}_1") for n in names]
    of = tuple(name.split("-")[0] for name in names)
    return Split(sketches, np.arange(len(names)), names, of, of)


def toy(seed: int = 0, validation: int = 0) -> SketchDataset:
    """Training on triangles and squares; pentagons and circles are unseen."""
    test = split("pentagon", "circle")
    splits = {"train": split("triangle", "square"), "validation": split("triangle"), "test": test}
    return SketchDataset("toy", {"name": "toy", "seed": seed, "validation": validation}, splits, photo, {})


class TinyZSE(ZSE):
    sizes = Sizes(patch=8, width=24, layers=2, heads=2, hidden=32)


@pytest.fixture(scope="module")
def tiny() -> ZSE:
    return TinyZSE(EncoderConfig("zse", size=32, dim=8)).eval()


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> None:
    """The toy set by two names, for the command line."""
    monkeypatch.setitem(loading.DATASETS, "toy", toy)
    monkeypatch.setitem(loading.DATASETS, "other", lambda seed=0, validation=0: replace(toy(seed), name="other"))


class TestMetrics:
    def test_by_category_by_hand(self) -> None:
        score = torch.tensor([[0.9, 0.8, 0.7, 0.6], [0.1, 0.2, 0.3, 0.4]])
        relevant = torch.tensor([[True, False, True, False], [True, True, False, False]])
        found = by_category(score, relevant, ["a", "b"])
        # first: P = 1 and 2/3; second: hits at 3 and 4, P = 1/3 and 1/2
        assert found["mAP@all"].values.tolist() == pytest.approx([(1 + 2 / 3) / 2, (1 / 3 + 1 / 2) / 2])
        assert found["P@100"].values.tolist() == [0.5, 0.5]  # of a gallery of four
        assert found["P@100"].released == pytest.approx((1 / 2 + 0) / 2)  # among the first two
        assert found["mAP@all"].released == pytest.approx(((1 + 2 / 3) / 2 + (1 / 2 + 1 / 2) / 2) / 2)

    def test_each_category_counts_once_in_the_mean_of_categories(self) -> None:
        score, relevant = torch.zeros(3, 2), torch.ones(3, 2, dtype=torch.bool)
        relevant[2, 0] = False  # ties: the relevant one comes last, AP = 1/2
        metric = by_category(score, relevant, ["a", "a", "b"])["mAP@all"]
        assert metric.mean == pytest.approx((1 + 1 + 1 / 2) / 3)
        assert metric.by_category == pytest.approx((1 + 1 / 2) / 2)

    @pytest.mark.parametrize("count", [1, 2, 4])
    def test_chance_is_the_mean_over_all_orders(self, count: int, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("sketchless.benchmarks.zero_shot.tasks.CUTS", (2, 3))
        orders = torch.tensor(list(itertools.permutations([1.0, 2, 3, 4, 5])))  # [120, 5]
        relevant = (torch.arange(5) < count).expand(120, -1)
        for metric in by_category(orders, relevant, [""] * 120).values():
            assert metric.mean == pytest.approx(metric.chance)
        rivals = torch.tensor([True, True, True, False, True]).expand(120, -1)
        for metric in by_instance(orders, rivals, torch.ones(120, dtype=torch.int64), []).values():
            assert metric.mean == pytest.approx(metric.chance)

    def test_by_instance_by_hand(self) -> None:
        score = torch.tensor([[0.5, 0.9, 0.7, 0.5], [0.5, 0.9, 0.7, 0.5], [0.5, 0.9, 0.7, 0.5]])
        rivals = torch.tensor([[True, False, False, True], [True, True, True, True], [True, True, True, True]])
        found = by_instance(score, rivals, torch.tensor([0, 2, -1]), ["a", "b", "b"])
        # first: only photo 3 is a rival, as near, and ties count against us: rank 2; second: rank 2; third: unknown
        assert found["acc@1"].values.tolist() == [0, 0]
        assert found["acc@5"].values.tolist() == [1, 1]

    def test_a_category_without_photos_is_refused(self) -> None:
        with pytest.raises(DataError, match="no photo"):
            by_category(torch.zeros(1, 2), torch.zeros(1, 2, dtype=torch.bool), ["a"])


class TestTasks:
    def test_unseen_leaves_out_what_training_has(self) -> None:
        data = replace(toy(), splits={**toy().splits, "test": split("square", "circle")})
        found = unseen(data)
        assert set(found.sketch_categories) == set(found.photo_categories) == {"circle"}
        assert found.photos == tuple(f"circle-{i}" for i in range(PHOTOS))
        assert found.targets.tolist() == list(range(PHOTOS))
        with pytest.raises(DataError, match="in training too"):
            unseen(replace(toy(), splits={**toy().splits, "test": split("square")}))

    def test_ret_is_the_dot_product_and_rn_the_relation(self, tiny: ZSE) -> None:
        data = toy()
        test = data.split("test")
        photos = tiny.photo_inputs([data.photo(i) for i in test.photos])
        sketches = tiny.sketch_inputs(Frames(test.sketches, "points", 1).birth < 255)
        with torch.no_grad():
            ret = tiny(sketches) @ tiny(photos).T
            rn = torch.stack([tiny.relation(s.expand_as(photos), photos) for s in sketches])
        relevant = torch.arange(12).unsqueeze(1) // PHOTOS == torch.arange(12) // PHOTOS
        for score, matrix in (("ret", ret), ("rn", rn)):
            found = zero_shot(tiny, data, "inter", score)
            expected = by_category(matrix, relevant, test.sketch_categories)
            assert (found.sketches, found.photos, found.categories) == (12, 12, ("circle", "pentagon"))
            for name, metric in found.metrics.items():
                np.testing.assert_allclose(metric.values, expected[name].values, atol=1e-6)
            intra = zero_shot(tiny, data, "intra", score).metrics
            own = by_instance(matrix, relevant, torch.arange(12), test.sketch_categories)
            for name, metric in intra.items():
                assert metric.values.tolist() == own[name].values.tolist()

    def test_the_first_ones_are_put_in_order_again(self, tiny: ZSE) -> None:
        def maps(score: str, first: int | None = None) -> list[float]:
            return zero_shot(tiny, toy(), "inter", score, first).metrics["mAP@all"].values.tolist()

        assert maps("rn", 12) == pytest.approx(maps("rn"))
        assert maps("rn", 1) == pytest.approx(maps("ret"))  # one photo has one order
        hits = [zero_shot(tiny, toy(), "inter", "rn", k).metrics for k in (4, None)]
        assert hits[0]["P@100"].mean == hits[1]["P@100"].mean == 0.5

    def test_cross_has_both_kinds_of_metrics(self, tiny: ZSE) -> None:
        found = zero_shot(tiny, toy(), "cross").metrics
        assert set(found) == {"mAP@all", "mAP@200", "P@100", "P@200", "acc@1", "acc@5", "acc@10"}
        test = replace(toy().split("test"), sketch_categories=(), photo_categories=())
        plain = replace(toy(), splits={**toy().splits, "test": test})
        assert set(zero_shot(tiny, plain, "cross").metrics) == {"acc@1", "acc@5", "acc@10"}
        with pytest.raises(DataError, match="has no categories"):
            zero_shot(tiny, plain, "inter")

    def test_every_encoder_has_ret(self) -> None:
        encoder = Encoder(EncoderConfig(size=32, dim=8)).eval()
        assert zero_shot(encoder, toy(), "inter").metrics["mAP@all"].mean > 0.5
        with pytest.raises(ConfigError, match="no relation network"):
            zero_shot(encoder, toy(), "inter", "rn")


class TestCommand:
    @pytest.fixture
    def run(self, tiny: ZSE, tmp_path: Path, names: None) -> Path:
        """Folder as an encode run leaves it."""
        tiny.save(tmp_path / "run" / "encoder.safetensors")
        manifest = {"command": "encode", "config": {"dataset": "toy", "seed": 3, "validation": 2}}
        (tmp_path / "run" / "manifest.json").write_text(json.dumps(manifest))
        return tmp_path / "run"

    def test_tables_and_file(self, run: Path, tmp_path: Path, capsys) -> None:
        file = tmp_path / "inter.json"
        assert (
            main(["evaluate", str(run), "--task", "inter", "--score", "rn", "--first", "5", "--json", str(file)]) == 0
        )
        printed = " ".join(capsys.readouterr().out.split())
        assert "inter, toy: 12 sketches, 12 photos of 2 categories" in printed
        assert "orders the first 5 by ret" in printed
        content = json.loads(file.read_text())
        assert content["metrics"]["mAP@all"]["low"] <= content["metrics"]["mAP@all"]["mean"]
        assert content["data"] == {"name": "toy", "seed": 3, "validation": 2}
        assert content["published"]["Sketchy"]["ret"]["mAP@all"] == 0.736
        assert main(["evaluate", str(run), "--task", "intra"]) == 0
        assert "acc@1" in capsys.readouterr().out
        assert main(["evaluate", str(run), "--task", "cross", "--dataset", "other"]) == 0
        assert main(["evaluate", str(run / "encoder.safetensors"), "--task", "inter", "--dataset", "toy"]) == 0

    def test_the_data_are_those_of_the_run(self, tmp_path: Path, names: None, capsys) -> None:
        small = ["--size", "32", "--epochs", "1", "--steps", "1", "--validation", "2"]
        out = tmp_path / "run"
        assert main(["encode", "--dataset", "toy", "--seed", "3", "--split-seed", "5", *small, "--out", str(out)]) == 0
        assert main(["evaluate", str(out), "--task", "inter", "--json", str(tmp_path / "inter.json")]) == 0
        data = json.loads((tmp_path / "inter.json").read_text())["data"]
        assert data == EpisodeBank.load(out / "bank.safetensors", "test").provenance["data"]
        assert data == {"name": "toy", "seed": 5, "validation": 2}

    def test_a_data_set_is_the_same_however_it_is_spelled(self, run: Path, tmp_path: Path, monkeypatch, capsys) -> None:
        monkeypatch.setitem(loading.DATASETS, "files", lambda root, seed=0, validation=0: toy(seed, validation))
        monkeypatch.setitem(loading.LAYOUTS, "files", lambda folder: True)
        config = {"dataset": f"{tmp_path}?seed=4&validation=2", "seed": 3, "validation": 1}
        (run / "manifest.json").write_text(json.dumps({"command": "encode", "config": config}))

        def fault(task: str, dataset: str) -> str:
            code, printed = main(["evaluate", str(run), "--task", task, "--dataset", dataset]), capsys.readouterr()
            assert (code == 2) == bool(printed.err)
            return printed.err

        for same in (f"{tmp_path}/?validation=2&seed=4", f"files?validation=2&root={run}/..&seed=4"):
            assert fault("inter", same) == ""
            assert "wants another data set" in fault("cross", same)
        assert "with the options" in fault("inter", f"{tmp_path}?seed=5&validation=2")
        assert "wants another data set" in fault("cross", str(tmp_path))
        assert fault("cross", str(run)) == ""
        assert "wants the data set the encoder" in fault("intra", str(run))

    @pytest.mark.parametrize(
        ("more", "fault"),
        [
            (["--task", "outer"], "unknown task 'outer'"),
            (["--task", "inter", "--score", "rm"], "unknown score 'rm'"),
            (["--task", "inter", "--dataset", "other"], "wants the data set the encoder"),
            (["--task", "cross"], "wants another data set"),
            (["--task", "inter", "--first", "5"], "only with --score rn"),
            (["--score", "rn"], "belong to a --task"),
            (["--task", "inter", "--json", "MANIFEST"], "exists; remove it"),
        ],
    )
    def test_one_line_and_exit_code_two(self, more: list[str], fault: str, run: Path, capsys) -> None:
        more = [str(run / "manifest.json") if word == "MANIFEST" else word for word in more]
        assert main(["evaluate", str(run), *more]) == 2
        error = capsys.readouterr().err
        assert fault in error
        assert error.count("\n") == 1

    def test_loaded_weights_were_trained_where_the_earlier_run_says(self, run: Path, tmp_path: Path, capsys) -> None:
        later = tmp_path / "later"
        shutil.copytree(run, later)
        config = {"dataset": "other", "seed": 3, "validation": 2, "load": str(run / "encoder.safetensors")}
        (later / "manifest.json").write_text(json.dumps({"command": "encode", "config": config}))
        assert main(["evaluate", str(later), "--task", "cross", "--dataset", "other"]) == 0
        assert main(["evaluate", str(later), "--task", "inter"]) == 0
        assert "inter, toy" in capsys.readouterr().out
        (run / "manifest.json").unlink()
        assert main(["evaluate", str(later), "--task", "inter"]) == 2
        assert "is not known; give --dataset" in capsys.readouterr().err

    def test_a_file_needs_a_data_set(self, run: Path, capsys) -> None:
        assert main(["evaluate", str(run / "encoder.safetensors"), "--task", "inter"]) == 2
        assert "give --dataset" in capsys.readouterr().err
