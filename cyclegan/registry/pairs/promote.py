"""Both generators as one thing in the registry, and who is champion, decided by one process at a time.

Beside `<name>-AtoB` and `<name>-BtoA` there is the registered model `<name>`. Each of its versions names a
version of both directions and holds the scores they were judged by. Its alias `champion` is the one pointer
that decides: setting it is a single write, so no reader finds halves of two pairs. The aliases of the
directions, for those who read MLflow without this package, follow it and are corrected by the next
registration if a process was killed in between.

MLflow has no locks, but it numbers versions in its database. So the version of `<name>` is also a ticket:
registrations decide in the order of their numbers, each after those before it have settled. A process that
dies while it waits or decides is skipped after STALE_SECONDS. One that was only stalled and finds itself
skipped restores the pointer and takes a new ticket.

All wait by asking the server, which has the decision to serve as well. So each asks the more rarely the more
are before it and the slower the server answers: together they are less work than the one that decides,
however many they are.

A version of `<name>` is therefore a decision, not a model. What would change nothing needs none: a pair that
holds its alias by the same evidence keeps the version that it has, however often it is registered.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from cyclegan.errors import CycleGANError
from cyclegan.model import DIRECTIONS
from cyclegan.registry.config import RegisterConfig
from cyclegan.registry.decision import Decision, Evidence, decide
from cyclegan.registry.pairs.aliases import (
    ALIASES,
    aliases_of,
    members_of,
    repair,
    restore,
    version_by_alias,
)
from cyclegan.registry.pairs.turns import PassedOver, check_still_on, take_ticket, turn

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

logger = logging.getLogger(__name__)

ATTEMPTS = 8


def promote(
    client: MlflowClient,
    config: RegisterConfig,
    evidence: Evidence,
    versions: dict[str, str],
    tags: dict[str, str],
    description: str,
) -> Decision:
    """Judge the pair `versions` (version number by direction) against the champion and set its alias.

    Many processes may do so at once: the result is that of one after the other. Raises CycleGANError where
    the aliases can't be brought to agree, MlflowException where the registry refuses.
    """
    if settled := _settled(client, config, evidence, versions):
        return settled
    for _ in range(ATTEMPTS):
        ticket = take_ticket(client, config.name, versions, evidence, tags, description)
        try:
            with turn(client, config.name, ticket) as settle:
                held = _holders(client, config.name)
                decision = decide(evidence, _champion_of(client, config.name, held), config)
                _appoint(client, config.name, ticket, decision.alias, versions, held)
                settle(decision.alias)
        except PassedOver:
            logger.warning("Others registered while this process was stalled; deciding again.")
            continue
        client.set_model_version_tag(config.name, ticket, "verdict", decision.reason)
        return decision
    raise CycleGANError(f"The registry did not settle on a champion of {config.name}: register again.")


def _settled(
    client: MlflowClient, config: RegisterConfig, evidence: Evidence, versions: dict[str, str]
) -> Decision | None:
    """The verdict where this pair was judged by this evidence, holds its alias and would get it again."""
    held = _holders(client, config.name)
    decision = decide(evidence, _champion_of(client, config.name, held), config)
    holder = held.get(decision.alias)
    if holder is None or members_of(holder) != versions or holder.tags.get("evidence") != evidence.to_json():
        return None
    for direction in DIRECTIONS:
        if aliases_of(client, f"{config.name}-{direction}").get(decision.alias) != versions[direction]:
            return None
    return decision


def present_champion(client: MlflowClient, name: str) -> Evidence | None:
    """The evidence of the pair that is champion now; None where there is no champion."""
    champion = version_by_alias(client, name, "champion")
    return _champion_of(client, name, {"champion": champion} if champion else {})


def _holders(client: MlflowClient, name: str) -> dict[str, ModelVersion]:
    """The pairs that are champion and challenger now, by alias."""
    found = {alias: version_by_alias(client, name, alias) for alias in ALIASES}
    return {alias: version for alias, version in found.items() if version}


def _champion_of(client: MlflowClient, name: str, held: dict[str, ModelVersion]) -> Evidence | None:
    version = held.get("champion") or version_by_alias(client, f"{name}-AtoB", "champion")
    if version is None:
        return None
    try:
        return Evidence.from_json(version.tags["evidence"])
    except (KeyError, ValueError):  # somebody else made this version
        return Evidence(score=float("nan"), metric="an unknown metric", data_version="unknown")


def _appoint(
    client: MlflowClient,
    name: str,
    ticket: str,
    alias: str,
    versions: dict[str, str],
    held: dict[str, ModelVersion],
) -> None:
    """Point `alias` of the pairs, then of both directions, at this pair, and look whether it stayed so.

    `held` is who had the aliases until now.
    """
    check_still_on(client, name, ticket)
    client.set_registered_model_alias(name, alias, ticket)
    try:
        check_still_on(client, name, ticket)
    except PassedOver:
        restore(client, name, ticket)
        raise
    if alias == "champion" and "challenger" in held and members_of(held["challenger"]) == versions:
        client.delete_registered_model_alias(name, "challenger")  # who rose is no longer challenger
    former = {holder: members_of(version) for holder, version in held.items()}
    known = {str(version.version): members_of(version) for version in held.values()}
    repair(client, name, former, known | {ticket: versions})
