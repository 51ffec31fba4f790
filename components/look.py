"""Component: which images a run is about, before any is fetched."""

from typing import Any, NamedTuple

from components import component
from cyclegan.data.config import FetchConfig


@component(FetchConfig)
def look(
    source: str,
    version: str,
    options: dict[str, Any],
) -> NamedTuple("Found", [("data_version", str), ("state", str)]):  # type: ignore[valid-type]
    """Look which version is published and whether the source has changed; fetches nothing.

    The backend must not answer this task from its cache. With what it returns it can answer all others, since
    an artifact of a task that ran again is another one for it, whatever it holds.

    Args:

    Returns:
        data_version: What `version` is, or what its address names.
        state: Another one when the images at `source` are, where `version` does not say which they are.
    """
    from cyclegan.cluster.arguments import pick
    from cyclegan.cluster.settings import begin
    from cyclegan.data.config import FetchConfig
    from cyclegan.data.fetch.published import images_state, resolve_version

    begin(tracked=True)
    found = resolve_version(version)
    state = "" if found else images_state(pick(FetchConfig, {"source": source, "options": options}, "fetch"))
    print(f"Data version {found or 'of whatever is there'}, state of the source {state or 'fixed'}.")
    return (found, state)
