"""Who holds an alias: of the pairs, and of both directions, which follow them."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from cyclegan.errors import CycleGANError
from cyclegan.model import DIRECTIONS

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

logger = logging.getLogger(__name__)

ALIASES = ("champion", "challenger")
REPAIRS = 8


def pair_of(client: MlflowClient, name: str, *, alias: str = "", version: str = "") -> dict[str, str]:
    """Version number by direction of the pair that `name` has under an alias or number; empty if none."""
    import mlflow

    if alias:
        found = version_by_alias(client, name, alias)
    else:
        try:
            found = client.get_model_version(name, version)
        except mlflow.MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            found = None
    return members_of(found) if found else {}


def version_by_alias(client: MlflowClient, registered: str, alias: str) -> ModelVersion | None:
    """The version that an alias points at; None where there is no such model or alias."""
    import mlflow

    try:
        return client.get_model_version_by_alias(registered, alias)
    except mlflow.MlflowException as error:
        if error.error_code in {"RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"}:
            return None
        raise


def members_of(version: ModelVersion) -> dict[str, str]:
    """Version number by direction of a pair; empty where the version names none."""
    found: dict[str, str] = {direction: version.tags.get(direction, "") for direction in DIRECTIONS}
    return found if all(found.values()) else {}


def restore(client: MlflowClient, name: str, ticket: str) -> None:
    """Undo a write that came too late: the pointers as those left them who decided last."""
    for alias in ALIASES:
        decided = client.search_model_versions(
            f"name = '{name}' and tags.state = '{alias}'", max_results=2, order_by=["version_number DESC"]
        )
        numbers = [int(version.version) for version in decided if str(version.version) != ticket]
        if numbers:
            client.set_registered_model_alias(name, alias, str(max(numbers)))
        elif aliases_of(client, name).get(alias) == ticket:
            client.delete_registered_model_alias(name, alias)
    repair(client, name)


def _point(client: MlflowClient, registered: str, alias: str, version: str) -> bool:
    """Set an alias; False if its version no longer exists."""
    import mlflow

    try:
        client.set_registered_model_alias(registered, alias, version)
    except mlflow.MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return False
    return True


def aliases_of(client: MlflowClient, registered: str) -> dict[str, str]:
    """Version number by alias of a registered model. Raises MlflowException where there is no such model."""
    found = client.get_registered_model(registered).aliases
    return {alias: str(version) for alias, version in dict(found).items()}


def repair(
    client: MlflowClient,
    name: str,
    former: dict[str, dict[str, str]] | None = None,
    known: dict[str, dict[str, str]] | None = None,
) -> None:
    """Make both directions' aliases those of the pairs, and verify that they are.

    Warns of each that another hand had set: one that differs from that of the pair which had the alias until
    now, by `former`. `known` are pairs by number, which need no request.
    Raises CycleGANError where another program keeps changing the aliases.
    """
    members = dict(known or {})
    for _ in range(REPAIRS):
        pointers = aliases_of(client, name)
        for number in set(pointers.values()) - members.keys():
            members[number] = pair_of(client, name, version=number)
        pairs = {alias: members[pointers[alias]] for alias in ALIASES if alias in pointers}
        if "champion" not in pairs:
            return  # nothing was decided yet, or the aliases of the directions are by another hand
        wrong = False
        for direction in DIRECTIONS:
            registered = f"{name}-{direction}"
            present = aliases_of(client, registered)
            for alias in ALIASES:
                wanted = pairs.get(alias, {}).get(direction)
                if present.get(alias) == wanted:
                    continue
                if wanted is None:
                    client.delete_registered_model_alias(registered, alias)
                elif not _point(client, registered, alias, wanted):
                    logger.warning("Version %s of %s, which is %s, was deleted.", wanted, registered, alias)
                    continue
                elif former is None or (
                    alias in former and present.get(alias) != former[alias].get(direction)
                ):
                    logger.warning("%s@%s did not follow %s@%s: corrected.", registered, alias, name, alias)
                wrong = True
        if not wrong:
            return
        former = pairs
    raise CycleGANError(f"Another program keeps changing the aliases of {name}: stop it and register again.")
