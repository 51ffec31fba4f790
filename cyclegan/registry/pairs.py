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
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, TypeVar

from cyclegan.errors import CycleGANError
from cyclegan.model import DIRECTIONS
from cyclegan.registry.config import RegisterConfig
from cyclegan.registry.decision import Decision, Evidence, decide

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

logger = logging.getLogger(__name__)

ALIASES = ("champion", "challenger")
STALE_SECONDS = 20.0  # a decision takes less than one second, and up to DECISION_REQUESTS as long as a look
DECISION_REQUESTS = 14
LONGEST_DECISION, LONGEST_WAIT = 1.0, 30.0
"""Seconds that a waiting process takes a decision of another to last, and until it looks again, at most."""
ATTEMPTS = 8

Result = TypeVar("Result")


class _PassedOver(Exception):
    """Others took this process for dead while it was stalled."""


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
        ticket = _take_ticket(client, config.name, versions, evidence, tags, description)
        try:
            with _turn(client, config.name, ticket) as settle:
                held = _holders(client, config.name)
                decision = decide(evidence, _champion_of(client, config.name, held), config)
                _appoint(client, config.name, ticket, decision.alias, versions, held)
                settle(decision.alias)
        except _PassedOver:
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
    if holder is None or _members(holder) != versions or holder.tags.get("evidence") != evidence.to_json():
        return None
    for direction in DIRECTIONS:
        if _aliases(client, f"{config.name}-{direction}").get(decision.alias) != versions[direction]:
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
    return _members(found) if found else {}


def version_by_alias(client: MlflowClient, registered: str, alias: str) -> ModelVersion | None:
    """The version that an alias points at; None where there is no such model or alias."""
    import mlflow

    try:
        return client.get_model_version_by_alias(registered, alias)
    except mlflow.MlflowException as error:
        if error.error_code in {"RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"}:
            return None
        raise


def _members(version: ModelVersion) -> dict[str, str]:
    found: dict[str, str] = {direction: version.tags.get(direction, "") for direction in DIRECTIONS}
    return found if all(found.values()) else {}


def _take_ticket(
    client: MlflowClient,
    name: str,
    versions: dict[str, str],
    evidence: Evidence,
    tags: dict[str, str],
    description: str,
) -> str:
    import mlflow

    source = f"models:/{name}-AtoB/{versions['AtoB']}"
    tags = tags | versions | {"evidence": evidence.to_json(), "state": "waiting"}
    for _ in range(2):
        try:
            version = persistently(
                lambda: client.create_model_version(
                    name, source, tags=tags, description=description, await_creation_for=0
                )
            )
            return str(version.version)
        except mlflow.MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
        text = f"Pairs of generators; each version names one of `{name}-AtoB` and one of `{name}-BtoA`. "
        text += "Move the alias `champion` here to appoint another pair."
        with suppress(mlflow.MlflowException):  # another may have made it now; if not, the next call says why
            client.create_registered_model(name, description=text)
    raise CycleGANError(f"The registry says that there is no {name}, and does not make it.")


def persistently(create: Callable[[], Result]) -> Result:
    """Create a version, in as many attempts as it takes when others do so at the same time.

    MLflow numbers a version by the highest there is and gives up after three collisions with others. The
    waits between attempts are random, for those that collided would collide again.
    """
    import mlflow

    for attempt in range(ATTEMPTS):
        try:
            return create()
        except mlflow.MlflowException as error:
            if attempt == ATTEMPTS - 1 or "creation error" not in str(error).lower():
                raise
            time.sleep(random.uniform(0.05, 0.2) * 2**attempt)
    raise AssertionError


@contextmanager
def _turn(client: MlflowClient, name: str, ticket: str) -> Iterator[Callable[[str], None]]:
    """Wait until all earlier tickets are settled; yields the function that settles this one."""
    settled = False

    def settle(state: str) -> None:
        nonlocal settled
        settled = True
        client.set_model_version_tag(name, ticket, "state", state)

    try:
        _wait_for_turn(client, name, ticket)
        yield settle
    finally:
        if not settled:  # let the next one decide at once, if the registry can still be reached
            with suppress(Exception):
                settle("failed")


def _wait_for_turn(client: MlflowClient, name: str, ticket: str) -> None:
    head, since, fastest = 0, 0.0, float("inf")
    while True:
        began = time.monotonic()
        waiting = client.search_model_versions(
            f"name = '{name}' and tags.state = 'waiting'", max_results=1, order_by=["version_number ASC"]
        )
        now = time.monotonic()
        first = int(waiting[0].version) if waiting else 0
        if first == int(ticket):
            return
        if not waiting or first > int(ticket):
            raise _PassedOver
        if first != head:
            head, since = first, now
        # where many begin at once the first look takes long for all of them, and says little of the server
        fastest = min(fastest, now - began)
        decision_seconds = min(LONGEST_DECISION, DECISION_REQUESTS * fastest)
        if now - since > STALE_SECONDS + DECISION_REQUESTS * (now - began):
            logger.warning("Version %d of %s was never decided about; skipping it.", head, name)
            client.set_model_version_tag(name, str(head), "state", "skipped")
            continue
        # until about the middle of the decision before its own, if they follow each other without a pause
        pause = min(LONGEST_WAIT, decision_seconds * (int(ticket) - head - 0.7))
        time.sleep(pause * random.uniform(0.7, 1.0))


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
    _check_still_on(client, name, ticket)
    client.set_registered_model_alias(name, alias, ticket)
    try:
        _check_still_on(client, name, ticket)
    except _PassedOver:
        _restore(client, name, ticket)
        raise
    if alias == "champion" and "challenger" in held and _members(held["challenger"]) == versions:
        client.delete_registered_model_alias(name, "challenger")  # who rose is no longer challenger
    former = {holder: _members(version) for holder, version in held.items()}
    known = {str(version.version): _members(version) for version in held.values()}
    _repair(client, name, former, known | {ticket: versions})


def _check_still_on(client: MlflowClient, name: str, ticket: str) -> None:
    if client.get_model_version(name, ticket).tags.get("state") != "waiting":
        raise _PassedOver


def _restore(client: MlflowClient, name: str, ticket: str) -> None:
    """Undo a write that came too late: the pointers as those left them who decided last."""
    for alias in ALIASES:
        decided = client.search_model_versions(
            f"name = '{name}' and tags.state = '{alias}'", max_results=2, order_by=["version_number DESC"]
        )
        numbers = [int(version.version) for version in decided if str(version.version) != ticket]
        if numbers:
            client.set_registered_model_alias(name, alias, str(max(numbers)))
        elif _aliases(client, name).get(alias) == ticket:
            client.delete_registered_model_alias(name, alias)
    _repair(client, name)


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


def _aliases(client: MlflowClient, registered: str) -> dict[str, str]:
    found = client.get_registered_model(registered).aliases
    return {alias: str(version) for alias, version in dict(found).items()}


def _repair(
    client: MlflowClient,
    name: str,
    former: dict[str, dict[str, str]] | None = None,
    known: dict[str, dict[str, str]] | None = None,
) -> None:
    """Make both directions' aliases those of the pairs, and verify that they are.

    Warns of each that another hand had set: one that differs from that of the pair which had the alias until
    now, by `former`. `known` are pairs by number, which need no request.
    """
    members = dict(known or {})
    for _ in range(ATTEMPTS):
        pointers = _aliases(client, name)
        for number in set(pointers.values()) - members.keys():
            members[number] = pair_of(client, name, version=number)
        pairs = {alias: members[pointers[alias]] for alias in ALIASES if alias in pointers}
        if "champion" not in pairs:
            return  # nothing was decided yet, or the aliases of the directions are by another hand
        wrong = False
        for direction in DIRECTIONS:
            registered = f"{name}-{direction}"
            present = _aliases(client, registered)
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
