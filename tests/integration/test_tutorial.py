"""The tutorial's notebook runs from its first cell to its last."""

from __future__ import annotations

from pathlib import Path

import pytest

NOTEBOOK = Path(__file__).resolve().parents[2] / "docs" / "tutorial.ipynb"


@pytest.mark.slow
def test_the_notebook_runs_without_a_screen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import nbclient
    import nbformat

    monkeypatch.setenv("CYCLEGAN_TRACKING", "off")
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    assert not any(cell.get("outputs") for cell in notebook.cells), "outputs are not committed"
    for name in ("TMPDIR", "IPYTHONDIR", "JUPYTER_RUNTIME_DIR"):
        monkeypatch.setenv(name, str(tmp_path))
    client = nbclient.NotebookClient(
        notebook, timeout=600, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}
    )
    client.execute()  # raises with the cell's traceback where one fails
    results = [cell.outputs for cell in notebook.cells if cell.cell_type == "code"]
    assert "image/png" in str(results[-2]), "no picture was shown"
    assert float(results[-1][-1]["data"]["text/plain"]) > 0
    (report,) = tmp_path.glob("*/scores/report.html")
    assert report.stat().st_size > 10_000
