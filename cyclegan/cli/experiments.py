"""Where the runs of a dataset go, and whom its model will be compared with."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cyclegan.data.prepared import Prepared
    from cyclegan.registry.config import RegisterConfig

logger = logging.getLogger(__name__)


def name_experiment(data: Prepared) -> None:
    """Put runs into an MLflow experiment named after the dataset, where the environment names none."""
    from cyclegan.registry.config import dataset_name
    from cyclegan.tracking.runs import name_experiment

    if data.uri:
        name_experiment(dataset_name(data.uri, data.names))


def warn_of_champion(config: RegisterConfig, data: Prepared) -> None:
    """Say before training that the registered name belongs to a model of other data: scores won't compare."""
    from cyclegan.tracking.runs import enabled

    if not enabled():
        logger.info("MLflow is not installed or switched off: nothing is tracked, and no model registered.")
        return
    from cyclegan.registry.config import dataset_name
    from cyclegan.registry.register import champion_data

    name = config.name or dataset_name(data.uri, data.names)
    theirs = champion_data(name)
    if theirs and theirs != data.version and not config.force:
        logger.warning(
            "'%s' has a champion of other data (version %s, here %s): this model will be registered as a "
            "challenger. Choose another name, or set force, for it to become champion.",
            *(name, theirs, data.version),
        )
