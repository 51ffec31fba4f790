"""Reading and writing compiled files: two YAML documents, the pipeline and its Kubernetes half."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

Documents = list[dict[str, Any]]

# libyaml's are ten times faster, where PyYAML has them
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_DUMPER: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


def read_documents(file: Path) -> Documents:
    """All documents of a compiled file."""
    return list(yaml.load_all(file.read_text(encoding="utf-8"), Loader=_LOADER))


def write_documents(documents: Documents, file: Path) -> None:
    """Write documents to `file`; how lines are broken depends on the machine."""
    file.write_text(yaml.dump_all(documents, Dumper=_DUMPER, sort_keys=False), encoding="utf-8")
