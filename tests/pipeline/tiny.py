"""Arguments of `python -m pipeline run` for images and networks as small as they get."""

from __future__ import annotations

TINY = (
    "data_source=synthetic:city?train=6&test=4&size=32",
    "data_version=",
    "preprocess_load_size_px=32",
    "train_epochs=1",
    "train_decay_epochs=0",
    "train_batch_size=2",
    'train_options={"blocks": 1, "width": 8, "discriminator_width": 8}',
    'evaluate_options={"resamples": 0}',
    "evaluate_features=random",
)
