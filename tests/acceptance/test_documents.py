"""Runs the documents: each `python` and `sh` block of README, tutorial and how-to pages.

The blocks of a page become one program, in their order, in a folder with the files that the pages
speak of and with a server in the environment.

A block after `<!-- not run: reason -->` is left out, one after `<!-- needs: module -->` where that
module is not installed.
"""

from __future__ import annotations

import importlib.util
import os
import pickle
import re
import shutil
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import pytest
import tiny_models

from penstock import model_type

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "docs/tutorial.md", *sorted(ROOT.glob("docs/how-to/*.md"))]
USUAL_SERVER = re.compile(r"(?:127\.0\.0\.1|localhost):8700")
PROGRAM_S = 120

BLOCK = re.compile(
    r"(?:<!-- (?:not run: (?P<reason>[^\n]+?)|needs: (?P<module>\w+)) -->\n)?"
    r"^```(?P<kind>python|sh)\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)

#: What stands before the first block: the names that pages take as given.
PREAMBLE = """
import json, os, subprocess
from penstock import Endpoint, deploy, model_type

flow = [(model_type.TORCH, "features.pt"), (model_type.XGBOOST_CLASSIFIER, "xgb.json")]
endpoint = Endpoint(os.environ["PENSTOCK_TEST_ENDPOINT"])
rows = [[5.1, 3.5, 1.4, 0.2], [6.2, 2.9, 4.3, 1.3]]

def _shell(text):
    done = subprocess.run(["sh", "-eu", "-c", text], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    if "curl" in text:
        answer = json.loads(done.stdout)
        assert "error" not in answer, answer
"""


class Block(NamedTuple):
    kind: str
    text: str
    line: int
    reason: str | None
    module: str | None

    @property
    def runs(self) -> bool:
        """Whether it can and shall be run here."""
        installed = self.module is None or importlib.util.find_spec(self.module) is not None
        return self.reason is None and installed


def blocks(page: Path) -> list[Block]:
    text = page.read_text()
    return [
        Block(
            found["kind"],
            found["text"],
            text[: found.start("text")].count("\n") + 1,
            found["reason"],
            found["module"],
        )
        for found in BLOCK.finditer(text)
    ]


def program(page: Path, server: Any) -> str:
    """Return the page's blocks as one Python program."""
    parts = [PREAMBLE]
    for block in blocks(page):
        if not block.runs:
            continue
        text = USUAL_SERVER.sub(urlsplit(server.url).netloc, block.text)
        text = text.replace("<PREDICT_KEY>", server.keys["predict"])
        parts.append(f"# {page.name}, line {block.line}")
        parts.append(text if block.kind == "python" else f"_shell({text!r})")
    return "\n".join(parts)


@pytest.fixture(scope="module")
def iris(put_once: Any, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The endpoint `my-flow` of the pages: it takes rows of four numbers."""
    from sklearn.datasets import load_iris
    from sklearn.linear_model import LogisticRegression

    path = tmp_path_factory.mktemp("iris") / "iris.pkl"
    model = LogisticRegression(max_iter=500).fit(*load_iris(return_X_y=True))
    path.write_bytes(pickle.dumps(model))
    return put_once([(model_type.SKLEARN_CLASSIFIER, path)], "my-flow").url


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files that the pages speak of: two small models that fit each other, two pictures."""
    import torch
    import xgboost
    from PIL import Image
    from sklearn.datasets import load_digits

    made = tmp_path_factory.mktemp("files")
    digits = load_digits()
    torch.manual_seed(1)
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 16), torch.nn.ReLU()).eval()
    with torch.inference_mode():
        hidden = net(torch.tensor(digits.images[:300, None] / 16, dtype=torch.float32)).numpy()
    booster = xgboost.XGBClassifier(n_estimators=3, max_depth=3, n_jobs=1)
    booster.fit(hidden, digits.target[:300]).save_model(made / "xgb.json")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TorchScript is in maintenance mode
        torch.jit.script(net).save(str(made / "features.pt"))
    for name, image in zip("ab", digits.images, strict=False):
        Image.fromarray((image * 15).astype("uint8")).save(made / f"{name}.png")
    return made


@pytest.fixture
def folder(files: Path, tmp_path: Path) -> Path:
    """A copy of those files for one page."""
    shutil.copytree(files, tmp_path, dirs_exist_ok=True)
    return tmp_path


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_block_of_the_page_runs(page: Path, folder: Path, server: Any, iris: str) -> None:
    if page.name == "transformers.md":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tiny_models.text_generator(folder / "gpt")
            tiny_models.text_classifier(folder / "reviews")
            tiny_models.image_classifier(folder / "photos")
    script = folder / "page.py"
    script.write_text(program(page, server))
    known = {k: v for k, v in os.environ.items() if not k.startswith("PENSTOCK_")}
    done = subprocess.run(
        [sys.executable, script],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=PROGRAM_S,
        check=False,
        env={
            **known,
            "PENSTOCK_SERVER": server.url,
            "PENSTOCK_API_KEY": server.keys["deploy"],
            "PENSTOCK_PROFILE": str(folder / "profile.json"),
            "PENSTOCK_TEST_ENDPOINT": iris,
            "SERVER": server.url,
            "KEY": server.keys["deploy"],
        },
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_blocks_are_found_and_left_out_only_with_a_reason() -> None:
    readme = blocks(ROOT / "README.md")
    assert [block.kind for block in readme if block.reason is None] == ["python", "sh"]
    for page in PAGES:
        fences = re.findall(r"^```(?:python|sh)$", page.read_text(), re.MULTILINE)
        found = blocks(page)
        assert len(found) == len(fences), page.name
        for block in found:
            assert block.reason is None or len(block.reason.split()) > 2
