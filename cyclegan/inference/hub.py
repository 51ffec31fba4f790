"""Models on the Hugging Face Hub: `hf://organisation/name`, or `hf://organisation/name@revision`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from cyclegan.errors import CycleGANError, UsageError, first_line
from cyclegan.io.uri import redact

if TYPE_CHECKING:
    from cyclegan.model import Direction

ADDRESS = re.compile(r"hf://(?P<repo>[\w.-]+/[\w.-]+)(?:@(?P<revision>[\w./-]+))?/?")


def download(address: str, direction: Direction) -> Path:
    """A folder with config.json and the generator's safetensors, in the Hub client's cache.

    A copy in the cache is used where the Hub cannot be reached. Raises UsageError where there is no such
    model, CycleGANError where neither the Hub nor a copy is available.
    """
    repo, revision = parse(address)
    from huggingface_hub import errors, hf_hub_download

    with hub_errors(address):
        try:
            folder = Path(hf_hub_download(repo, "config.json", revision=revision)).parent
            hf_hub_download(repo, f"{direction}.safetensors", revision=folder.name)  # of the same commit
        except errors.LocalEntryNotFoundError:
            raise
        except errors.EntryNotFoundError as error:
            name = str(error).rpartition("/")[2].strip(". ")
            raise UsageError(f"There is no model in {address}: it has no {name}.") from None
    return folder


def parse(address: str) -> tuple[str, str | None]:
    """Repository and revision of an address; UsageError for another one, or without the extra."""
    match = ADDRESS.fullmatch(address)
    if match is None:
        raise UsageError(
            f"{redact(address)} is not a Hub address: write hf://ORGANISATION/NAME, or with @REVISION."
        )
    if not find_spec("huggingface_hub"):
        raise UsageError(f"{address} needs more packages: pip install 'cyclegan-pipeline[hub]'.")
    return match["repo"], match["revision"]


@contextmanager
def hub_errors(address: str) -> Iterator[None]:
    """Turn failures of the Hub's client into a sentence about `address`.

    UsageError for what the address or token is to blame, CycleGANError for the network and the Hub.
    """
    from huggingface_hub import errors

    try:
        yield
    except errors.RevisionNotFoundError:
        raise UsageError(f"{address}: the repository has no such revision.") from None
    except (errors.RepositoryNotFoundError, errors.HFValidationError):
        raise UsageError(
            f"There is no model {address} on the Hub, or it is private: check the name, and HF_TOKEN."
        ) from None
    except errors.LocalEntryNotFoundError:
        raise CycleGANError(f"The Hub cannot be reached for {address}, and no copy of it is here.") from None
    except (errors.HfHubHTTPError, OSError, ValueError) as error:
        raise CycleGANError(f"The Hub refused {address}: {first_line(error)}.") from None
