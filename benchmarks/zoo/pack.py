"""Weights as a folder that `from_pretrained` and `load_encoder` take, and as a repository of the hub."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from sketchless.datasets.errors import ConfigError, ResourceError
from sketchless.datasets.files import replacing, user_path, write_json
from sketchless.encoders.zoo import MANIFEST, WEIGHTS, is_repository

from .card import card
from .describe import described

CARD = "README.md"


def pack(target: str, out: str | Path, seed: int | None = None, place: str | None = None) -> Path:
    """Write a folder of the weights, `manifest.json` and a model card; of a run, nothing else goes with it.

    Args:
        target, seed: as for `described`.
        out: the folder; new or empty.
        place: what the card says to load; by default the folder.

    Raises:
        ConfigError: the folder holds something, or cannot be written. Otherwise as `described`.
    """
    file, about = described(target, seed)
    folder = user_path(out)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigError(f"{folder}: is there and not empty; choose another --out")
    with replacing(folder / WEIGHTS[about.kind]) as temporary:
        shutil.copyfile(file, temporary)
    with replacing(folder / CARD) as temporary:
        temporary.write_text(card(about, place or str(out)), encoding="utf-8")
    write_json(folder / MANIFEST, about.model_dump(exclude_unset=True))
    return folder


def push_to_hub(target: str, repository: str, private: bool = False, seed: int | None = None) -> str:
    """Upload what `pack` writes to the Hugging Face hub, as whoever is logged in there; returns the page's address.

    Args:
        target, seed: as for `described`.
        repository: `owner/name`; made if it is new.
        private: whether a new one is seen by its owner alone.

    Raises:
        ConfigError: no name of a repository, or `huggingface_hub` is not installed. ResourceError: the hub does not
            take it. Otherwise as `described`.
    """
    if not is_repository(repository):
        raise ConfigError(f"{repository!r}: is no repository; give owner/name")
    try:
        from huggingface_hub import HfApi
    except ImportError as error:
        raise ConfigError("the hub needs huggingface_hub: pip install 'sketchless[hf]'") from error
    with tempfile.TemporaryDirectory() as temporary:
        folder = pack(target, Path(temporary) / "packed", seed, repository)
        api = HfApi()
        try:
            page = api.create_repo(repository, private=private, exist_ok=True)
            api.upload_folder(repo_id=repository, folder_path=folder, commit_message="Weights, manifest and card")
        except Exception as error:  # the library raises its own errors and those of whatever carries its requests
            fault = " ".join(str(error).split())[:150] or type(error).__name__
            raise ResourceError(
                f"{repository}: the hub does not take it ({fault}); log in with `hf auth login`"
            ) from error
    return str(page)
