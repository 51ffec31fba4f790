"""Registrations that decide one after the other, in the order of their tickets: see promote.py."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, TypeVar

from cyclegan.errors import CycleGANError
from cyclegan.registry.decision import Evidence

if TYPE_CHECKING:
    from mlflow import MlflowClient

logger = logging.getLogger(__name__)

DECISION_REQUESTS = 14
LONGEST_DECISION, LONGEST_WAIT = 1.0, 30.0
"""Seconds that a waiting process takes a decision of another to last, and until it looks again, at most."""
STALE_SECONDS = LONGEST_WAIT + 15.0
"""How long a turn may last, besides DECISION_REQUESTS looks. Whose turn it is may be asleep when it begins,
if those before were faster than they had seemed."""
ATTEMPTS = 8

Result = TypeVar("Result")


class PassedOver(Exception):
    """Others took this process for dead while it was stalled."""


def take_ticket(
    client: MlflowClient,
    name: str,
    versions: dict[str, str],
    evidence: Evidence,
    tags: dict[str, str],
    description: str,
) -> str:
    """Register a version of `name` that waits for its turn, making the model first where there is none.

    Returns its number. Raises CycleGANError where the registry makes no such model, MlflowException where it
    refuses.
    """
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
        text += "Move the alias `champion` here to make another pair the champion."
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
def turn(client: MlflowClient, name: str, ticket: str) -> Iterator[Callable[[str], None]]:
    """Wait until all earlier tickets are settled; yields the function that settles this one."""
    settled = False

    def settle(state: str) -> None:
        nonlocal settled
        settled = True
        client.set_model_version_tag(name, ticket, "state", state)

    try:
        wait_for_turn(client, name, ticket)
        yield settle
    finally:
        if not settled:  # let the next one decide at once, if the registry can still be reached
            with suppress(Exception):
                settle("failed")


def wait_for_turn(client: MlflowClient, name: str, ticket: str) -> None:
    """Return when no earlier ticket waits; skip one that was not decided about in time.

    Raises PassedOver where this ticket itself was skipped.
    """
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
            raise PassedOver
        if first != head:
            head, since = first, now
        # where many begin at once the first look takes long for all of them, and says little of the server
        fastest = min(fastest, now - began)
        decision_seconds = min(LONGEST_DECISION, DECISION_REQUESTS * fastest)
        if now - since > STALE_SECONDS + DECISION_REQUESTS * (now - began):
            logger.warning("No decision was made about version %d of %s; skipping it.", head, name)
            client.set_model_version_tag(name, str(head), "state", "skipped")
            continue
        # until about the middle of the decision before its own, if they follow each other without a pause
        pause = min(LONGEST_WAIT, decision_seconds * (int(ticket) - head - 0.7))
        time.sleep(pause * random.uniform(0.7, 1.0))


def check_still_on(client: MlflowClient, name: str, ticket: str) -> None:
    """Raise PassedOver where others skipped this ticket."""
    if client.get_model_version(name, ticket).tags.get("state") != "waiting":
        raise PassedOver
