"""The card of a model at any address, with its scores and test pictures."""

from __future__ import annotations

import os
from pathlib import Path

from cyclegan.errors import UsageError
from cyclegan.inference.translator import model_folder
from cyclegan.io.files import atomic_file
from cyclegan.io.uri import redact
from cyclegan.model_config import read_config
from cyclegan.registry.pages.card import model_card
from cyclegan.registry.results import Facts, read_facts, read_scores

SAMPLES = 2  # pictures of each direction


def write_card(
    model: str,
    scores: Path,
    license_id: str,
    out: Path | None,
    *,
    pictures: Path | None = None,
    load_from: str = "FOLDER",
) -> str:
    """The card of a model folder or address, with the scores in the folder `scores` if it exists.

    Written to `out` unless that is None, then with links to the sample pictures in the folder `pictures`, by
    default those that evaluation wrote below `scores`. Raises UsageError where there is no model, or where
    the scores are of another data version.
    """
    with model_folder(model, None) as (folder, _):
        config = read_config(folder, redact(model))
    values: dict[str, float] = {}
    facts: Facts = {}
    if (scores / "scores.json").is_file():
        values, facts = read_scores(scores), read_facts(scores)
        known, judged = (config.get("data") or {}).get("version"), facts.get("data_version")
        if known and judged and known != judged:
            raise UsageError(
                f"The scores in {scores} are of data version {judged}, the model's is {known}: "
                "evaluate it, or name another --scores."
            )
    links = []
    if out:
        at = pictures or scores / "samples"
        for pair in sample_pictures(scores, SAMPLES):
            if not (at / pair[0].name).is_file():  # published without pictures
                continue
            before, after = (os.path.relpath(at / picture.name, out.parent) for picture in pair)
            links.append((pair[0].name[:4], before, after))
    text = model_card(config, values, facts, license_id=license_id, pictures=links, load_from=load_from)
    if out:
        with atomic_file(out) as temporary:
            temporary.write_text(text, encoding="utf-8")
    return text


def sample_pictures(scores: Path, count: int) -> list[tuple[Path, Path]]:
    """Input and translation of the first test pictures of each direction that evaluation wrote, if it did."""
    found = []
    for direction in ("AtoB", "BtoA"):
        inputs = sorted(
            (scores / "samples").glob(f"{direction}-*-input.*"), key=lambda path: int(path.name.split("-")[1])
        )
        pairs = [(path, path.with_name(path.name.replace("-input.", "-translation."))) for path in inputs]
        found += [pair for pair in pairs if pair[1].is_file()][:count]
    return found
