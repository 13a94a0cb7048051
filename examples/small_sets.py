"""How the default fares on a small set: many draws of a few photos of a large one, an encoder and policies for each.

    python examples/small_sets.py ./qmul-chair-v2 --photos 100 --draws 8 --out runs/small \\
      --encoder hf:./mobilenet_v2 --size 128 --epochs 12 --precision bfloat16

Options that it does not know go to `sketchless encode`. A draw is finished once its results are there, so that the same
command goes on where it was stopped. The table has the mean change over draws, and its standard error: draws share
photos, so that it is a little too small.

Other settings of the agent on the same draws and encoders, and what they change:

    python examples/small_sets.py ./qmul-chair-v2 --against runs/small --out runs/one-se --set choice=one-se
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

METRICS = ("m@A", "m@B", "A@1", "A@5", "A@10")


def changes_of_draw(args: argparse.Namespace, encode: list[str], draw: int) -> dict[str, float]:
    """Refined less B1, percentage points, mean over the seeds of one draw's policies."""
    encoder, run = (args.against or args.out) / f"encoder-{draw}", args.out / f"train-{draw}"
    if not (run / "results.json").exists():
        data = ("--dataset", f"{args.dataset}?photos={args.photos}", "--split-seed", str(draw), "--seed", str(draw))
        if not args.against:
            sketchless("encode", *data, *encode, "--out", str(encoder))
        bank = ("--bank", str(encoder / "bank.safetensors"), "--seeds", args.seeds)
        sketchless("train", *bank, *args.set, "--no-gif", "--logger", "none", "--out", str(run))
    change = json.loads((run / "results.json").read_text(encoding="utf-8"))["change"]
    return {metric: change[metric]["mean"] for metric in METRICS}


def over_draws(values: list[float]) -> dict[str, Any]:
    """Mean over draws, its standard error, and the values themselves."""
    error = statistics.stdev(values) / len(values) ** 0.5 if len(values) > 1 else float("nan")
    return {"mean": statistics.mean(values), "standard_error": error, "draws": values}


def show(found: dict[str, dict[str, Any]]) -> None:
    for metric, values in found.items():
        print(f"{metric:>5}  {values['mean']:+6.2f}  (standard error {values['standard_error']:.2f})")


def sketchless(*arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "sketchless", *arguments], check=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dataset")
    parser.add_argument("--photos", type=int, default=100, help="of train and test together, in the set's proportion")
    parser.add_argument("--draws", type=int, default=8)
    parser.add_argument("--seeds", default="0-2", help="of the policies of each draw")
    parser.add_argument("--set", nargs="*", default=[], help="settings of the agent, such as b1_penalty=0")
    parser.add_argument("--against", type=Path, help="earlier --out whose encoders are taken and results compared")
    parser.add_argument("--out", type=Path, default=Path("runs/small"))
    args, encode = parser.parse_known_args()
    args.set = ["--set", *args.set] if args.set else []
    draws = [changes_of_draw(args, encode, draw) for draw in range(args.draws)]
    found = {metric: over_draws([draw[metric] for draw in draws]) for metric in METRICS}
    show(found)
    if args.against:
        before = json.loads((args.against / "draws.json").read_text(encoding="utf-8"))
        print(f"less {args.against}, draw by draw:")
        pairs = {metric: zip(found[metric]["draws"], before[metric]["draws"], strict=True) for metric in METRICS}
        show({metric: over_draws([now - then for now, then in of]) for metric, of in pairs.items()})
    (args.out / "draws.json").write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
