"""Callbacks of stable-baselines3 around a `learn` that steps many environments at once."""

from __future__ import annotations

from typing import Any

from stable_baselines3.common.callbacks import BaseCallback, CallbackList, ConvertCallback, ProgressBarCallback


class _ProgressBar(ProgressBarCallback):
    """Counts the steps that were made; theirs adds the number of environments at every call."""

    _done = 0

    def _on_training_start(self) -> None:
        super()._on_training_start()
        self._done = self.model.num_timesteps

    def _on_step(self) -> bool:
        self.pbar.update(self.num_timesteps - self._done)
        self._done = self.num_timesteps
        return True


def as_callback(callback: Any) -> BaseCallback:
    """None, a function, a callback or a list of them as one callback."""
    if callback is None:
        return CallbackList([])
    if isinstance(callback, list):
        return CallbackList([as_callback(one) for one in callback])
    if isinstance(callback, CallbackList):
        callback.callbacks = [as_callback(one) for one in callback.callbacks]
    if type(callback) is ProgressBarCallback:
        return _ProgressBar()
    return callback if isinstance(callback, BaseCallback) else ConvertCallback(callback)
