"""Grids of tiny cells, and everything that may happen to them on the way."""

from __future__ import annotations

import contextlib
import io
import json
import multiprocessing
import os
import random
import runpy
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from sketchless.benchmarks.ablation.cells import Outcome, perform
from sketchless.benchmarks.ablation.executors import _work
from sketchless.benchmarks.ablation.progress import GridProgress
from sketchless.benchmarks.ablation.runner import Cell, run_cells
from sketchless.benchmarks.runs import RunFolder, read_json
from sketchless.datasets import CheckpointError, ConfigError, ResourceError
from sketchless.datasets.files import write_json

# A module of its own: the workers are fresh processes, which cannot import a test module.
EXPERIMENTS = '''
import fcntl, json, os, signal, sys, time, weakref
import torch
from sketchless.benchmarks.runs import Interrupted
from sketchless.datasets.files import write_json

def log(folder, word):
    with open(folder / "log", "a") as file:
        file.write(f"{word} {os.getpid()}\\n")

ALIVE = weakref.WeakSet()

class Agent:  # refers to itself, as torch's optimisers do
    def __init__(self):
        self.itself = self
        ALIVE.add(self)

def alive(settings, folder, progress):
    left = len(ALIVE)
    Agent()
    return {"left": left}

def add(settings, folder, progress):
    """1 + 2 + .. + n, by steps that are saved: goes on from any instant, refuses to run twice at a time."""
    alone = open(folder / "alone", "w")
    fcntl.flock(alone, fcntl.LOCK_EX | fcntl.LOCK_NB)
    log(folder, "begin")
    print("adding up to", settings["n"])
    file = folder / "state.json"
    state = json.loads(file.read_text()) if file.exists() else {"step": 0, "sum": 0}
    while state["step"] < settings["n"]:
        state["step"] += 1
        state["sum"] += state["step"]
        write_json(file, state)
        if progress(state["step"] / settings["n"], f"sum {state['sum']}"):
            raise Interrupted("saved")
        time.sleep(settings.get("pause", 0.0))
    log(folder, "end")
    return {"sum": state["sum"], "threads": torch.get_num_threads()}

def once_bad(settings, folder, progress):
    """Fails in a way of its choice, the first time."""
    if not (folder / "tried").exists():
        (folder / "tried").touch()
        if settings["how"] == "raise":
            raise ValueError("no luck\\nat all")
        if settings["how"] == "exit":
            sys.exit(0)
        if settings["how"] == "nan":
            return {"value": float("nan")}
        if settings["how"] == "nothing":
            return None
        if settings["how"] == "memory":
            raise MemoryError("too much")
        os.kill(os.getpid(), signal.SIGKILL)
    return {"value": 1}
'''


PATIENCE = 300.0  # seconds: for hangs alone, as a slow machine is not one


@pytest.fixture(autouse=True)
def _experiments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "runner_experiments.py").write_text(EXPERIMENTS)
    monkeypatch.syspath_prepend(tmp_path / "code")


@pytest.fixture
def grid(tmp_path: Path) -> Path:
    return tmp_path / "grid"


def add(arm: str, seed: int, n: int = 3, pause: float = 0.0) -> Cell:
    return Cell(f"{arm}/seed-{seed}", "runner_experiments:add", {"n": n + seed, "pause": pause})


def quiet() -> Console:
    return Console(file=io.StringIO(), width=200)


def lines(console: Console) -> list[str]:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().splitlines()


def words(grid: Path, cell: Cell) -> list[str]:
    log = grid / cell.id / "log"
    return [line.split()[0] for line in log.read_text().splitlines()] if log.exists() else []


def sums(results: dict[str, dict[str, Any]]) -> dict[str, int]:
    return {cell: result["sum"] for cell, result in results.items()}


def expected(cells: list[Cell]) -> dict[str, int]:
    return {cell.id: sum(range(cell.settings["n"] + 1)) for cell in cells}


@pytest.mark.usefixtures("forked_workers")
def test_all_cells_run_once_and_finished_ones_are_kept(grid: Path) -> None:
    cells = [add(arm, seed) for arm in ("methods/trpo", "methods/vpg") for seed in range(2)]
    console = quiet()
    results = run_cells(cells[:3], grid, workers=2, console=console)
    assert list(results) == [cell.id for cell in cells[:3]]
    assert sums(results) == expected(cells[:3])
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    assert {result["threads"] for result in results.values()} == {max(cores // 2, 1)}
    home = grid / cells[0].id
    assert (home / "output.txt").read_text() == "adding up to 3\n"
    assert read_json(home / "result.json") == results[cells[0].id]
    manifest = read_json(home / "manifest.json")
    assert manifest["settings"] == cells[0].settings
    assert manifest["versions"]["torch"]
    ended = lines(console)
    assert [line.split("  ")[1] for line in ended] == ["done"] * 3
    assert "(3 of 3 cells, 0:00:00 left)" in ended[-1]

    console = quiet()
    assert sums(run_cells(cells, grid, console=console)) == expected(cells)
    assert [words(grid, cell) for cell in cells] == [["begin", "end"]] * 4
    assert lines(console)[0] == "3 of 4 cells are finished already"
    assert len(lines(console)) == 2
    console = quiet()
    assert sums(run_cells(cells, grid, console=console)) == expected(cells)
    assert lines(console) == []


@pytest.mark.usefixtures("forked_workers")
def test_failed_and_killed_cells_are_on_record_and_run_again(grid: Path, refuses) -> None:
    ways = ["raise", "exit", "kill", "nan", "nothing", "memory"]
    cells = [Cell(f"bad/{how}", "runner_experiments:once_bad", {"how": how}) for how in ways]
    cells += [add("good", 0)]
    console = quiet()
    with refuses(
        CheckpointError,
        r"cell bad/raise: ValueError: no luck \(6 of 7 cells failed\); see .*bad/raise/error.txt; .*again",
    ):
        run_cells(cells, grid, console=console)
    ends = {line.split("  ")[0]: line.split("  ")[1] for line in lines(console)}
    assert ends["good/seed-0"] == "done"
    assert ends["bad/kill"] == "failed: its process ended by SIGKILL; if memory ran out, use fewer workers"
    assert ends["bad/exit"] == "failed: SystemExit: 0"
    assert "JSON" in ends["bad/nan"]
    assert "Traceback" in (grid / "bad/raise/error.txt").read_text()
    assert not list(grid.rglob("*.tmp-*"))
    (grid / "bad/raise/agent.safetensors.tmp-x1").write_text("half")
    assert {result["value"] for cell, result in run_cells(cells, grid, console=quiet()).items() if "bad" in cell} == {1}
    assert not list(grid.rglob("*.tmp-*"))
    assert not list(grid.rglob("error.txt"))
    assert words(grid, cells[-1]) == ["begin", "end"]


def test_what_lacked_memory_is_a_resource_error(tmp_path: Path, refuses) -> None:
    progress = GridProgress(["a/0"], (), quiet())
    progress.ended("a/0", Outcome("failed", "its process ended by SIGKILL", out_of_resources=True))
    with refuses(ResourceError, "cell a/0: its process ended by SIGKILL"):
        progress.verdict(tmp_path)


SCRIPT = """
    import sys
    from pathlib import Path
    from sketchless.benchmarks.ablation.runner import Cell, run_cells

    if __name__ == "__main__":
        cells = [Cell(*parts) for parts in {cells!r}]
        run_cells(cells, Path({grid!r}), **{options!r})
"""


def script(cells: list[Cell], grid: Path, **options: Any) -> Path:
    """A program that runs a grid."""
    path = grid.parent / "script.py"
    parts = [(cell.id, cell.experiment, cell.settings) for cell in cells]
    path.write_text(textwrap.dedent(SCRIPT).format(cells=parts, grid=str(grid), options=options))
    return path


def launch(cells: list[Cell], grid: Path, **options: Any) -> subprocess.Popen[str]:
    """A runner in a process group of its own."""
    env = {**os.environ, "PYTHONPATH": str(grid.parent / "code")}
    return subprocess.Popen(
        [sys.executable, str(script(cells, grid, **options))],
        env=env,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


def wait_for(condition: Callable[[], Any]) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.02)


def steps(grid: Path, cell: Cell) -> int:
    state = grid / cell.id / "state.json"
    return int(json.loads(state.read_text())["step"]) if state.exists() else 0


def gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    # a zombie that nobody has waited for yet
    stat = Path(f"/proc/{pid}/stat")
    return stat.exists() and stat.read_text().rpartition(")")[2].split()[0] == "Z"


def fork(runner: Callable[[], object], grid: Path) -> int:
    """A runner in a forked process, which need not import everything again; its id. Its end is in a file."""
    if pid := os.fork():
        return pid
    try:
        os.setsid()
        runner()
    except BaseException as error:
        (grid.parent / "end").write_text(f"{type(error).__name__}: {error}")
    finally:
        os._exit(0)


def test_ctrl_c_lets_cells_save_and_a_second_runner_is_refused(grid: Path, refuses, capfd) -> None:
    cells = [add("arm", seed, n=1000, pause=0.05) for seed in range(2)]
    path = script(cells, grid)
    runner = fork(lambda: runpy.run_path(str(path), run_name="__main__"), grid)  # the worker reads the script too
    wait_for(lambda: steps(grid, cells[0]) > 2)
    with refuses(ConfigError, "another runner works there"):
        run_cells(cells, grid, console=quiet())
    os.killpg(runner, signal.SIGINT)
    os.waitpid(runner, 0)
    end = (grid.parent / "end").read_text()
    assert end == f"Interrupted: {grid}: stopped with 0 of 2 cells finished; the same command goes on"
    assert capfd.readouterr().err == "stopping: saving what there is (again to stop at once)\n"
    assert not list(grid.rglob("error.txt"))
    assert steps(grid, cells[1]) == 0


@pytest.mark.parametrize("moment", ["running", "starting"])
def test_sigterm_stops_a_grid_which_then_goes_on(grid: Path, moment: str, request: pytest.FixtureRequest) -> None:
    cells = [add("arm", seed, n=30, pause=0.05) for seed in range(2)]
    runner = fork(lambda: run_cells(cells, grid, console=quiet()), grid)
    if moment == "running":
        wait_for(lambda: steps(grid, cells[0]) > 2)
    else:
        wait_for((grid / ".grid.lock").exists)
        time.sleep(0.5)
    os.killpg(runner, signal.SIGTERM)
    os.waitpid(runner, 0)
    end = (grid.parent / "end").read_text()
    assert end == f"Interrupted: {grid}: stopped with 0 of 2 cells finished; the same command goes on"
    assert not list(grid.rglob("error.txt"))
    if moment == "running":
        request.getfixturevalue("forked_workers")
        assert sums(run_cells(cells, grid, console=quiet())) == expected(cells)
        assert [words(grid, cell) for cell in cells] == [["begin", "begin", "end"], ["begin", "end"]]


def pids(grid: Path) -> list[int]:
    """Processes that ever began a cell."""
    return [int(line.split()[1]) for log in grid.rglob("log") for line in log.read_text().splitlines()]


def kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def killed_again_and_again(grid: Path, times: int, seed: int, victim: str, workers: int, n: int) -> None:
    """Kill the runner or a worker `times` times at random instants; then the grid must be as if undisturbed."""
    chance = random.Random(seed)
    cells = [add("arm", number, n=n, pause=0.05) for number in range(6)]
    for _ in range(times):
        finished = {cell.id for cell in cells if (grid / cell.id / "result.json").exists()}
        before = {cell.id: words(grid, cell) for cell in cells}
        runner = fork(lambda: run_cells(cells, grid, workers, console=quiet()), grid)
        # Most instants fall where cells run; some before the first one.
        begun = time.monotonic() + chance.choice([0.0, 30.0, 30.0, 30.0])
        while time.monotonic() < begun and {cell.id: words(grid, cell) for cell in cells} == before:
            if len(finished) == len(cells):
                break
            time.sleep(0.005)
        time.sleep(chance.uniform(0.0, 0.8))
        workers_alive = [pid for pid in pids(grid) if not gone(pid)]
        kill(runner if victim == "runner" else chance.choice(workers_alive or [runner]))
        os.waitpid(runner, 0)
        at = [steps(grid, cell) for cell in cells]
        wait_for(lambda: all(map(gone, pids(grid))))
        # nobody survives the runner: at most, a step that was being written is
        assert all(steps(grid, cell) <= step + 1 for cell, step in zip(cells, at, strict=True)), "went on"
        assert all(words(grid, cell) == before[cell.id] for cell in cells if cell.id in finished), "ran again"
    assert sums(run_cells(cells, grid, workers, console=quiet())) == expected(cells)
    assert not list(grid.rglob("*.tmp-*"))
    assert not list(grid.rglob("error.txt"))


@pytest.mark.slow
def test_a_runner_killed_at_any_instant_loses_and_doubles_nothing(grid: Path) -> None:
    killed_again_and_again(grid, times=3, seed=0, victim="runner", workers=1, n=8)


@pytest.mark.slow
@pytest.mark.parametrize("victim", ["runner", "worker"])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_many_kills_lose_and_double_nothing(grid: Path, victim: str, seed: int) -> None:
    killed_again_and_again(grid, times=10, seed=seed, victim=victim, workers=2, n=40)


def test_a_worker_whose_pipe_closes_ends_itself(grid: Path) -> None:
    """What remains where the kernel does not end orphans."""
    context = multiprocessing.get_context("fork")  # a fresh process would import everything again
    mine, theirs = context.Pipe()
    runner = os.getpid()

    def work() -> None:
        mine.close()
        _work(theirs, runner, grid, 1)

    worker = context.Process(target=work)
    worker.start()
    theirs.close()
    cell = add("arm", 0, n=100_000, pause=0.05)  # beyond patience
    mine.send(cell)
    wait_for(lambda: steps(grid, cell) > 1)
    mine.close()
    worker.join(timeout=PATIENCE)
    assert worker.exitcode == 1


def test_a_cell_that_another_process_still_runs_is_waited_for(grid: Path) -> None:
    cell, told = add("arm", 0), list[str]()

    def progress(share: float, note: str) -> bool:
        told.append(note)
        if len(told) == 3:
            write_json(grid / cell.id / "result.json", {"sum": -1})
            other.__exit__(None, None, None)
        return len(told) > 4

    other = RunFolder(grid / cell.id).locked()
    other.__enter__()
    assert perform(cell, grid, progress) == Outcome("done")
    assert told == ["", *["waits for a process that still runs it"] * 2]
    assert words(grid, cell) == []

    (grid / cell.id / "result.json").unlink()
    with RunFolder(grid / cell.id).locked():
        assert perform(cell, grid, progress) == Outcome("stopped")


@pytest.mark.parametrize(
    ("settings", "key"),
    [
        ({"n": 4, "pause": 0.0}, "n=3, not 4"),
        ({"n": 3}, "pause=0.0, not None"),
        ({"n": 3, "pause": 0.0, "x": "y"}, "x"),
    ],
)
@pytest.mark.parametrize("finished", [True, False])
def test_other_settings_are_refused(grid: Path, refuses, settings: dict[str, Any], key: str, finished: bool) -> None:
    cell = add("arm", 0)
    assert perform(cell, grid, lambda share, note: False) == Outcome("done")
    if not finished:
        (grid / cell.id / "result.json").unlink()
    with refuses(ConfigError, f"cell arm/seed-0: .*{key}"):
        run_cells([Cell(cell.id, cell.experiment, settings)], grid, console=quiet())
    with refuses(ConfigError, "experiment='runner_experiments:add', not 'runner_experiments:once_bad'"):
        run_cells([Cell(cell.id, "runner_experiments:once_bad", cell.settings)], grid, console=quiet())


def test_a_worker_keeps_nothing_of_the_cell_before(grid: Path) -> None:
    cells = [Cell(f"alive/{seed}", "runner_experiments:alive", {"seed": seed}) for seed in range(4)]
    assert [found["left"] for found in run_cells(cells, grid, console=quiet()).values()] == [0] * 4


def test_equal_settings_need_not_be_equally_written(grid: Path) -> None:
    first = Cell("a/0", "runner_experiments:add", {"n": 2, "kinds": ("x", "y")})
    assert perform(first, grid, lambda share, note: False) == Outcome("done")
    again = Cell("a/0", "runner_experiments:add", {"kinds": ["x", "y"], "n": 2})
    assert run_cells([again], grid, console=quiet())["a/0"]["sum"] == 3


def test_a_file_is_known_by_its_hash_wherever_it_lies(grid: Path, refuses) -> None:
    def cell(path: str, digest: str) -> Cell:
        return Cell("a/0", "runner_experiments:add", {"n": 2, "bank": path, "bank_sha256": digest})

    assert perform(cell("/here/bank", "1"), grid, lambda share, note: False) == Outcome("done")
    file = grid / "a/0/manifest.json"
    manifest = read_json(file)
    assert manifest["settings"]["bank"] == "bank"
    assert run_cells([cell("/there/bank", "1")], grid, console=quiet())["a/0"]["sum"] == 3
    manifest["settings"]["bank"] = "../../../bank"  # as version 0.1.0 wrote it
    write_json(file, manifest)
    assert run_cells([cell("/there/bank", "1")], grid, console=quiet())["a/0"]["sum"] == 3
    with refuses(ConfigError, "bank_sha256='1', not '2'"):
        run_cells([cell("/here/bank", "2")], grid, console=quiet())


@pytest.mark.parametrize("bad", ["", ".", "..", "../x", "a/../b", "/tmp/x", "a//b", "a/", "./a"])
def test_ids_that_are_no_folders_below_are_refused(grid: Path, refuses, bad: str) -> None:
    with refuses(ConfigError, "no folder below"):
        run_cells([Cell(bad, "runner_experiments:add", {"n": 1})], grid)
    assert not grid.exists()


def test_impossible_grids_are_refused(grid: Path, refuses, monkeypatch: pytest.MonkeyPatch) -> None:
    cell = add("arm", 0)
    with refuses(ConfigError, "no cells"):
        run_cells([], grid)
    with refuses(ConfigError, "arm/seed-0.*twice"):
        run_cells([cell, cell], grid)
    with refuses(ConfigError, "workers=0"):
        run_cells([cell], grid, workers=0)
    with refuses(ConfigError, "gpus=-1"):
        run_cells([cell], grid, gpus=-1.0)
    with refuses(ConfigError, "unknown executor 'lokal': did you mean 'local'"):
        run_cells([cell], grid, executor="lokal")
    assert not grid.exists()
    for name in ("no_such_module:f", "runner_experiments:no_such", "runner_experiments", ":"):
        with refuses(ConfigError, "cannot be imported"):
            run_cells([Cell("a/0", name, {})], grid)
    for settings in ({"x": float("nan")}, {"x": {1, 2}}):
        with refuses(ConfigError, "no plain JSON values"):
            run_cells([Cell("a/0", cell.experiment, settings)], grid)
    monkeypatch.setitem(sys.modules, "ray", None)
    with refuses(ConfigError, r'pip install "sketchless\[ray\]"'):
        run_cells([cell], grid, executor="ray", console=quiet())
    grid.joinpath("file").write_text("")
    with refuses(ConfigError, "cannot be written"):
        run_cells([cell], grid / "file")


def test_a_result_without_its_manifest_is_refused(grid: Path, refuses) -> None:
    write_json(grid / "arm/seed-0/result.json", {})
    with refuses(CheckpointError, "manifest.json: no such file"):
        run_cells([add("arm", 0)], grid)


def test_a_terminal_shows_one_row_per_arm(grid: Path) -> None:
    console = Console(file=io.StringIO(), width=120, height=30, force_terminal=True, color_system=None)
    progress = GridProgress([f"methods/{arm}/seed-{seed}" for arm in ("trpo", "vpg") for seed in range(4)], (), console)
    with progress:
        progress.running("methods/trpo/seed-0", 0.5, "reward +0.2")
        progress.running("methods/vpg/seed-0", 0.25, "")
        progress.ended("methods/vpg/seed-1", Outcome("done"))
        progress.ended("methods/vpg/seed-2", Outcome("failed", "ValueError: [bold]"))
    with console.capture() as shown:
        console.print(progress._show())
    total, trpo, vpg = shown.get().splitlines()
    assert "2 of 8 cells" in total
    assert trpo.split() == ["methods/trpo", "50%", "·", "·", "·", "reward", "+0.2"]
    assert vpg.split() == ["methods/vpg", "25%", "✓", "✗", "·"]


def test_time_left_counts_parts_of_cells_and_not_those_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    progress = GridProgress(["a/0", "a/1", "a/2", "a/3"], ["a/0"], quiet())
    assert progress._total() == "1 of 4 cells, -:--:-- left"
    progress.running("a/1", 0.5, "")
    now[0] += 30.0  # 30 s for half a cell: 150 s for the other two and a half
    assert progress._total() == "1 of 4 cells, 0:02:30 left"


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A Ray cluster of one node of one core, which runners find by RAY_ADDRESS."""
    pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    monkeypatch.setenv("RAY_ADDRESS", cluster.address)
    yield cluster
    cluster.shutdown()


@pytest.mark.slow
def test_a_cluster_that_loses_a_node_finishes_every_cell_once(grid: Path, cluster: Any) -> None:
    cells = [add("arm", seed, n=60, pause=0.1) for seed in range(6)]
    second = cluster.add_node(num_cpus=1)
    runner = launch(cells, grid, executor="ray")
    wait_for(lambda: sum(steps(grid, cell) > 5 for cell in cells) > 1)
    cluster.remove_node(second, allow_graceful=False)
    output, errors = runner.communicate(timeout=PATIENCE)
    assert errors == ""
    assert sorted(line.split("  ")[:2] for line in output.splitlines()) == [[cell.id, "done"] for cell in cells]
    logs = [words(grid, cell) for cell in cells]
    assert [log.count("end") for log in logs] == [1] * 6
    assert sum(log.count("begin") for log in logs) == 7  # the one on the lost node began again
    assert sums(run_cells(cells, grid, executor="ray", console=quiet())) == expected(cells)
    assert not list(grid.rglob("error.txt"))


@pytest.mark.slow
def test_a_grid_on_a_cluster_survives_signals_kills_and_failures(grid: Path, cluster: Any) -> None:
    cells = [add("arm", seed, n=30, pause=0.1) for seed in range(3)]
    cells.append(Cell("bad/raise", "runner_experiments:once_bad", {"how": "raise"}))
    runner = launch(cells, grid, executor="ray")
    wait_for(lambda: steps(grid, cells[0]) > 5)
    os.killpg(runner.pid, signal.SIGINT)
    _, errors = runner.communicate(timeout=PATIENCE)
    assert "stopped with 0 of 4 cells finished; the same command goes on" in errors

    runner = launch(cells, grid, executor="ray")
    at = steps(grid, cells[0])
    wait_for(lambda: steps(grid, cells[0]) > at + 5)
    runner.kill()
    runner.communicate()
    at = steps(grid, cells[0])

    _, errors = launch(cells, grid, executor="ray").communicate(timeout=PATIENCE)
    assert "cell bad/raise: ValueError: no luck" in errors
    launch(cells, grid, executor="ray").communicate(timeout=PATIENCE)
    assert sums(run_cells(cells[:3], grid, console=quiet())) == expected(cells[:3])
    assert [words(grid, cell).count("end") for cell in cells[:3]] == [1] * 3
    assert read_json(grid / "bad/raise/result.json") == {"value": 1}


@pytest.mark.slow
def test_more_gpus_than_the_cluster_has_are_refused(grid: Path, cluster: Any) -> None:
    _, errors = launch([add("arm", 0)], grid, executor="ray", gpus=1.5).communicate(timeout=PATIENCE)
    assert "ConfigError: gpus=1.5: the cluster has no such share" in errors


def test_a_cluster_that_is_not_there_is_named(grid: Path, refuses, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ray")
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    with refuses(ResourceError, "RAY_ADDRESS='127.0.0.1:1': no Ray cluster there .*refused"):
        run_cells([add("arm", 0)], grid, executor="ray", console=quiet())


def test_a_script_without_a_guard_is_told_what_to_do(grid: Path, tmp_path: Path, refuses) -> None:
    path = tmp_path / "unguarded.py"
    path.write_text(
        "from pathlib import Path\nfrom sketchless.benchmarks.ablation.runner import Cell, run_cells\n"
        f"run_cells([Cell('a', 'math:gcd', {{}})], Path({str(grid)!r}))\n"
    )
    with refuses(ResourceError, 'before it could begin: a script calls this below if __name__ == "__main__":'):
        runpy.run_path(str(path), run_name="__main__")
