"""What a shell shows when asked to render: the frame that was ranked last, and the list it gave."""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Any

from typing_extensions import TypedDict  # pydantic wants it before Python 3.12

from sketchless.datasets.dataset import SketchDataset
from sketchless.datasets.errors import ConfigError
from sketchless.datasets.schema import conform
from sketchless.encoders.bank import EpisodeBank

from ..core import Core, State, Transition
from .renderer import Renderer
from .window import Window


class Camera:
    """Draws the episodes of a core; opens its data set only when the first picture is asked for.

    Args:
        core: whose episodes are drawn.
        mode: `"rgb_array"`, `"ansi"` or `"human"`.
        dataset: drawings and photos; by default what the core's bank was made from.
        fps: pictures a second in a window.

    Raises:
        ConfigError: `"human"` where no window can open.
    """

    def __init__(self, core: Core, mode: str | None, dataset: SketchDataset | None = None, fps: float = 4) -> None:
        self._core, self._mode, self._dataset = core, mode, dataset
        self._renderer: Renderer | None = None
        self._window = Window(fps) if mode == "human" else None

    def __getstate__(self) -> dict[str, Any]:
        # Made again when they are needed: an open window and a data set's reader cannot be pickled.
        return self.__dict__ | {"_renderer": None, "_window": None}

    def picture(self, state: State | None, row: int, outcome: Transition | None) -> Any:
        """Row `row` of a state, with the list that playing there gave; uint8 [H, W, 3] or text.

        In mode `"human"` the picture goes to the window instead, and None is returned.

        Raises:
            ConfigError, DataError: the data set behind the bank cannot be read.
        """
        assert state is not None
        if self._renderer is None:
            bank = self._core.bank
            self._renderer = Renderer(bank, self._dataset or dataset_of(bank))
        draw = self._renderer.ansi if self._mode == "ansi" else self._renderer.rgb
        sketch, step = int(state.sketch[row]), int(state.step[row])
        order, rank = None, None
        if outcome is not None:
            order = outcome.similarity[row].argsort(descending=True, stable=True).tolist()
            rank = int(outcome.rank[row])
        picture: Any = draw(sketch, step, order, rank)
        return picture if self._window is None else self._window.show(picture)

    def close(self) -> None:
        """Close the window, where there is one; again does nothing."""
        if self._window is not None:
            self._window.close()


def dataset_of(bank: EpisodeBank) -> SketchDataset:
    """The data set a bank was made from, one object for all who ask; not to be written to.

    Raises:
        ConfigError: the bank does not say, or nothing that is a data set. Others as its loader raises them.
    """
    spec = bank.provenance.get("data")
    if not spec:
        raise ConfigError("this bank does not say what it was made from: pass dataset= to draw it")
    conform(_Spec, spec, "the data set in the bank's provenance", error=ConfigError, cure="pass dataset= to draw it")
    return _load(json.dumps(spec, sort_keys=True))


class _Spec(TypedDict):
    """What a bank says of its data set; the rest are options of its loader."""

    name: str


@lru_cache(maxsize=2)  # making the procedural one takes seconds
def _load(spec: str) -> SketchDataset:
    from sketchless.datasets.loading import load_dataset  # brings all readers, for those who render

    return load_dataset(**json.loads(spec))
