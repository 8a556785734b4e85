"""A flow written in the cells of a notebook, in a real kernel: deployed, called, and right."""

from __future__ import annotations

import json
import os
import pickle
from pathlib import Path
from typing import Any

import pytest

nbformat = pytest.importorskip("nbformat")
nbclient = pytest.importorskip("nbclient")

IMPORTS = """
import math
import statistics as stats
from collections import Counter
import numpy as np
import penstock
from penstock import deploy, model_type, save, get
"""

HELPERS = """
SCALE = {"x": 2.0, "y": 1.0}

def scaled(row):
    return [row["x"] * SCALE["x"], row["y"] * SCALE["y"]]
"""

FUNCTIONS = """
def pre(data):
    save("seen", Counter(row["name"] for row in data))
    return np.array([scaled(row) for row in data])

def post(result, input_data):
    top = max(get("seen").values())
    spread = stats.pstdev(math.floor(value) for value in result)
    rows = {row["name"]: value for row, value in zip(input_data, result)}
    return {"top": top, "spread": spread, "rows": rows}
"""

DEPLOY = """
flow = [(model_type.SKLEARN, MODEL, {"pre": pre, "post": post})]
data = [{"name": "a", "x": 1, "y": 2}, {"name": "b", "x": 3, "y": 4}]
endpoint = deploy(flow, "from-a-notebook", example=data)
"""

CHANGE = """
SCALE = {"x": 0.0, "y": 1.0}
again = deploy(flow, "from-a-notebook", example=data)
"""

FAILS = """
try:
    endpoint.predict([{"name": "a", "z": 1}])
except penstock.PenstockError:
    get_ipython().showtraceback()
"""

SHOW = """
import json
print(json.dumps(RESULT))
"""


@pytest.fixture
def model(tmp_path: Path) -> Path:
    import numpy as np
    from sklearn.linear_model import LinearRegression

    rows = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [2.0, 3.0]])
    path = tmp_path / "sum.pkl"
    path.write_bytes(pickle.dumps(LinearRegression().fit(rows, rows.sum(axis=1))))
    return path


def run_cells(folder: Path, environment: dict[str, str], *cells: str) -> list[Any]:
    """Run the cells in a kernel of this interpreter; return them with their outputs."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(c) for c in cells])
    client = nbclient.NotebookClient(
        notebook,
        timeout=120,
        kernel_name="python3",
        resources={"metadata": {"path": str(folder)}},
    )
    client.execute(env={**os.environ, **environment})
    return notebook.cells


def written(cell: Any) -> str:
    """What the cell printed."""
    return "".join(o.text for o in cell.outputs if o.output_type == "stream")


def shown(cell: Any) -> list[str]:
    """What the cell displayed, as HTML."""
    return [o.data["text/html"] for o in cell.outputs if o.output_type == "display_data"]


def test_functions_of_cells_travel_with_their_imports_and_helpers(
    server: Any, model: Path, tmp_path: Path
) -> None:
    environment = {
        "PENSTOCK_SERVER": server.url,
        "PENSTOCK_API_KEY": server.keys["deploy"],
        "PENSTOCK_PROFILE": str(tmp_path / "profile.json"),
        "CI": "",
    }
    cells = run_cells(
        tmp_path,
        environment,
        IMPORTS,
        HELPERS,
        f"MODEL = {str(model)!r}" + FUNCTIONS,
        DEPLOY,
        SHOW.replace("RESULT", "endpoint.predict(data)"),
        SHOW.replace("RESULT", "penstock.Conduit('local', None, flow).run(data)"),
        CHANGE,
        SHOW.replace("RESULT", "[again.version, again == endpoint, again.predict(data)]"),
        FAILS,
    )
    lines = written(cells[3]).splitlines()
    endpoints = [line for line in lines if line.startswith("🌍 Endpoint: http")]
    assert len(endpoints) == 1
    assert server.keys["deploy"] not in written(cells[3])
    [bar] = shown(cells[3])
    assert "uploading" in bar
    served = json.loads(written(cells[4]))
    assert served["rows"] == pytest.approx({"a": 4.0, "b": 10.0})
    assert served["top"] == 1
    assert json.loads(written(cells[5])) == served
    version, same, changed = json.loads(written(cells[7]))
    assert (version, same) == (2, True)
    assert changed["rows"] == pytest.approx({"a": 2.0, "b": 4.0})
    [error] = [o for o in cells[8].outputs if o.output_type == "error"]
    told = "\n".join(error.traceback)
    assert error.ename == "FunctionFailed"
    assert "endpoint.predict" in told
    assert "in scaled" in told
    assert "KeyError: 'x'" in told
    assert "/penstock/client/" not in told


EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.mark.parametrize("name", ["tabular/wine", "photos/photos"])
def test_the_notebook_of_an_example_runs_and_is_right(
    name: str, server: Any, tmp_path: Path
) -> None:
    path = EXAMPLES / f"{name}.ipynb"
    notebook = nbformat.read(path, as_version=4)
    assert all(not cell.outputs for cell in notebook.cells if cell.cell_type == "code")
    client = nbclient.NotebookClient(
        notebook,
        timeout=120,
        kernel_name="python3",
        resources={"metadata": {"path": str(path.parent)}},
    )
    client.execute(
        env={
            **os.environ,
            "PENSTOCK_SERVER": server.url,
            "PENSTOCK_API_KEY": server.keys["deploy"],
            "PENSTOCK_PROFILE": str(tmp_path / "profile.json"),
        }
    )
    text = "".join(written(cell) for cell in notebook.cells if cell.cell_type == "code")
    [accuracy] = [line for line in text.splitlines() if line.startswith("accuracy ")]
    assert float(accuracy.split()[1]) > 0.9
    assert f"🌍 Endpoint: {server.url}" in text
