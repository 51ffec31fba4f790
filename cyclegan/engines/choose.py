"""Which engine computes a model, and where the ONNX file that it needs comes from."""

from __future__ import annotations

import hashlib
import logging
import os
import re
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cyclegan.engines.base import Engine, EngineName, Precision
from cyclegan.errors import CycleGANError, UsageError
from cyclegan.io.files import atomic_file, sha256
from cyclegan.model_config import kinds_of, read_config
from cyclegan.pixel_kind import all_rgb, in_words
from cyclegan.runtime.cpu import has_bfloat16

if TYPE_CHECKING:
    from cyclegan.model import Direction

logger = logging.getLogger(__name__)

_HASH = re.compile(rb"weights\x12@([0-9a-f]{64})")
"""The entry `weights` as protobuf writes it: 0x12 begins the value, @ says that it has 64 bytes."""

PACKAGES = {"onnx": "onnxruntime", "openvino": "openvino"}
WORTH_EXPORTING = 32  # pictures; exporting costs as much as about ten of 256×256
FEW = 3  # pictures, for which loading torch takes longer than translating


def open_engine(
    folder: Path,
    direction: Direction,
    *,
    engine: EngineName = "auto",
    device: str = "auto",
    precision: Precision = "auto",
    pictures: int | None = None,
    where: str = "",
) -> tuple[Engine, dict[str, Any]]:
    """An engine for one generator of a model folder, and the model's config.

    `auto` is torch on GPUs. On CPUs it is the fastest that is installed: in bfloat16 OpenVINO, then torch; in
    float32 ONNX Runtime, OpenVINO, torch. The two that need an ONNX file are taken only where it exists
    already, beside the weights that it was exported from or in the cache, or where `pictures` (how many wait)
    is enough to make exporting worthwhile. Raises UsageError for an engine that is not installed or cannot
    use the device, CycleGANError for one that draws something other than torch.
    """
    where = where or str(folder)
    if not (folder / "config.json").is_file():
        raise UsageError(f"There is no model in {where}: it has no config.json.")
    kinds = kinds_of(read_config(folder, where))
    if not all_rgb(kinds):
        if engine in PACKAGES:
            raise UsageError(f"engine = {engine} takes RGB of 8 bits, but here {in_words(kinds)}: use torch.")
        # bfloat16 has 8 bits
        exact: Precision = "fp32" if precision == "auto" and kinds["A"].bits > 8 else precision
        return _torch(folder, direction, where, device, exact)
    if engine in PACKAGES:
        _installed(engine)
        _on_cpu(engine, device)
        path = _onnx_file(folder, direction, where, export=True)
        assert path is not None
        return open_onnx(path, engine, precision), {**read_config(folder, where)}
    if engine == "auto":
        for candidate in _candidates(device, precision, pictures):
            worth = (
                pictures is not None and pictures >= WORTH_EXPORTING and find_spec("onnxscript") is not None
            )
            path = _onnx_file(folder, direction, where, export=worth)
            if path is None:
                break
            try:
                return open_onnx(path, candidate, precision), {**read_config(folder, where)}
            except CycleGANError as error:
                logger.warning("%s", error)
    return _torch(folder, direction, where, device, precision)


def open_onnx(
    path: Path,
    engine: EngineName = "auto",
    precision: Precision = "auto",
    device: str = "auto",
) -> Any:
    """An engine for an .onnx or .xml file, checked by the picture in it; `auto` is the faster one installed.

    Raises UsageError for an engine that is not installed and for a file of something else, CycleGANError
    if its output differs from torch's.
    """
    from cyclegan.engines.onnx_file import OnnxRuntimeEngine, OpenVinoEngine, check_engine

    ir = path.suffix == ".xml"
    if engine == "auto":
        ranked = [name for name in _for_files(precision) if find_spec(PACKAGES[name])]
        engine = "openvino" if ir else ranked[0] if ranked else "onnx"
    if engine == "torch" or (ir and engine == "onnx"):
        kind, others = ("OpenVINO IR", "openvino") if ir else ("an ONNX file", "onnx or openvino")
        raise UsageError(f"{path} is {kind}, which {engine} does not run: use engine {others}.")
    _installed(engine)
    _on_cpu(engine, device)
    if engine == "onnx" and precision == "bf16":
        raise UsageError("ONNX Runtime computes these files in float32: use precision auto or fp32.")
    opened = OnnxRuntimeEngine(path) if engine == "onnx" else OpenVinoEngine(path, precision)
    apart = check_engine(opened, path)
    logger.debug("%s: %.2f grey levels from torch.", opened.name, apart)
    return opened


def _candidates(device: str, precision: Precision, pictures: int | None) -> list[EngineName]:
    """Engines for ONNX files that `auto` prefers to torch here, the best first."""
    if device not in {"auto", "cpu"} or (device == "auto" and _may_have_gpu()):
        return []
    found = [name for name in _for_files(precision) if find_spec(PACKAGES[name])]
    few = pictures is not None and pictures <= FEW
    if _in_bf16(precision) and not few and find_spec("torch"):
        return [name for name in found if name != "onnx"]  # torch in bfloat16 is faster
    return found


def _for_files(precision: Precision) -> list[EngineName]:
    """Engines for ONNX files, the best first, whether they are installed or not."""
    if precision == "bf16":
        return ["openvino"]
    # benchmarks/translate.py: in float32 OpenVINO was never the faster one, and takes longer to begin
    return ["openvino", "onnx"] if _in_bf16(precision) else ["onnx", "openvino"]


def _in_bf16(precision: Precision) -> bool:
    return precision == "bf16" or (precision == "auto" and has_bfloat16())


def _may_have_gpu() -> bool:
    """Whether torch has to be asked; it takes seconds to load."""
    return sys.platform != "linux" or Path("/dev/nvidiactl").exists() or Path("/dev/kfd").exists()


def _installed(engine: str) -> None:
    if not find_spec(PACKAGES[engine]):
        raise UsageError(f"engine = {engine} needs more packages: pip install 'cyclegan-pipeline[{engine}]'.")


def _on_cpu(engine: str, device: str) -> None:
    if device not in {"auto", "cpu"}:
        raise UsageError(f"engine = {engine} runs on the CPU: use engine torch for device = {device}.")


def _torch(
    folder: Path, direction: Direction, where: str, device: str, precision: Precision
) -> tuple[Engine, dict[str, Any]]:
    from cyclegan.engines.pytorch import TorchEngine, read_generator
    from cyclegan.runtime.device import limit_threads, resolve_device, resolve_precision

    generator, config = read_generator(folder, direction, where)
    resolved = resolve_device(device)
    limit_threads()
    return TorchEngine(generator.to(resolved), resolve_precision(precision, resolved)), config


def _onnx_file(folder: Path, direction: Direction, where: str, *, export: bool) -> Path | None:
    """The generator as an ONNX file: beside the weights, or in the cache, or exported into it if asked."""
    weights = folder / f"{direction}.safetensors"
    beside = folder / f"{direction}.onnx"
    if beside.is_file() and (not weights.is_file() or _is_of(beside, weights)):
        return beside
    if not weights.is_file():
        if export:
            raise UsageError(f"The model in {where} has no {weights.name}.")
        return None
    cached = _cache() / f"{_fingerprint(folder, weights)}.onnx"
    if cached.is_file():
        return cached
    if not export:
        return None
    if not find_spec("onnxscript"):
        raise UsageError("Exporting to ONNX needs more packages: pip install 'cyclegan-pipeline[onnx]'.")
    from cyclegan.engines.export import write_onnx
    from cyclegan.engines.pytorch import read_generator

    logger.info("Exporting %s of %s to ONNX, once; kept in %s.", direction, where, cached.parent)
    generator, config = read_generator(folder, direction, where)
    with atomic_file(cached) as temporary:
        write_onnx(generator, direction, config, sha256(weights), temporary)
    return cached


def _is_of(exported: Path, weights: Path) -> bool:
    """Whether the ONNX file was exported from these weights; warns if not.

    The file says so by a hash in its metadata; those of earlier versions say nothing, and are believed.
    """
    said = _HASH.search(exported.read_bytes())
    if said is None or said[1].decode() == sha256(weights):
        return True
    logger.warning("%s was not exported from %s and is ignored: export it again.", exported, weights.name)
    return False


def _fingerprint(folder: Path, weights: Path) -> str:
    """Of what decides the exported file; `1` is the version of its form."""
    parts = ["1", weights.stem, sha256(weights), sha256(folder / "config.json")]
    return hashlib.sha256(" ".join(parts).encode()).hexdigest()[:32]


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "cyclegan" / "onnx"
