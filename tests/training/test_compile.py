"""Compiled and recorded updates, as far as they can be judged without a GPU."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from unittest.mock import Mock

import pytest
import torch
from torch import Tensor

from cyclegan.errors import UsageError
from cyclegan.training.updates import compile as compiling
from cyclegan.training.updates.compile import WARM_UP, WORTH_COMPILING, CudaGraphUpdate, should_compile


def test_long_runs_on_a_gpu_are_compiled_where_that_is_possible(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cpu, cuda = torch.device("cpu"), torch.device("cuda")
    monkeypatch.setattr(compiling.importlib.util, "find_spec", lambda name: object())
    monkeypatch.setattr(compiling.shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(compiling.sysconfig, "get_path", lambda name: str(tmp_path))
    monkeypatch.delenv("CC", raising=False)
    with pytest.raises(UsageError, match=r"compile = on requires Python's headers \(.*Python\.h\)"):
        should_compile("on", cuda, 1)
    (tmp_path / "Python.h").touch()
    assert should_compile("auto", cuda, WORTH_COMPILING)
    assert not should_compile("auto", cuda, WORTH_COMPILING - 1)
    assert not should_compile("auto", cpu, WORTH_COMPILING)
    assert not should_compile("off", cuda, WORTH_COMPILING)
    assert should_compile("on", cpu, 1)
    monkeypatch.setattr(compiling.shutil, "which", lambda name: None)
    assert not should_compile("auto", cuda, WORTH_COMPILING)
    assert "faster with its networks compiled, which needs a C compiler" in caplog.text
    with pytest.raises(UsageError, match=r"compile = on requires a C\+\+ compiler"):
        should_compile("on", cpu, 1)


class Graph:
    """Stands in for torch.cuda.CUDAGraph: what is recorded is done again on the very same tensors."""

    recording: Graph | None = None
    replay: Callable[[], object]

    @contextmanager
    def record(self) -> Iterator[None]:
        Graph.recording = self
        yield
        Graph.recording = None


def test_a_recorded_update_takes_new_inputs_and_leaves_old_results_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.cuda, "CUDAGraph", Graph)
    monkeypatch.setattr(torch.cuda, "graph", Graph.record)
    for name in ("Stream", "current_stream"):
        monkeypatch.setattr(torch.cuda, name, Mock())
    monkeypatch.setattr(torch.cuda, "stream", lambda stream: nullcontext())
    performed: list[float] = []

    def update(a: Tensor, b: Tensor, rows_a: Tensor, rows_b: Tensor) -> Tensor:
        losses = torch.zeros(1)

        def perform() -> None:
            losses.copy_(a + 10 * b + 100 * rows_a + 1000 * rows_b)
            performed.append(losses.item())

        if Graph.recording:
            Graph.recording.replay = perform
        else:
            perform()
        return losses

    captured = CudaGraphUpdate(update)  # type: ignore[arg-type]
    steps = WARM_UP + 3
    digits = [[torch.tensor([float(i)]) for _ in range(4)] for i in range(steps)]
    results = [captured(*inputs) for inputs in digits]
    assert performed == [1111.0 * i for i in range(steps)]
    assert [result.item() for result in results] == performed
    for i, inputs in enumerate(digits):
        assert [value.item() for value in inputs] == [i] * 4
