"""The documents: generated pages are fresh and complete, and every link leads somewhere."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer

import penstock
from penstock.cli.main import build
from penstock.core.errors import BY_CODE
from penstock.server.load_settings import describe_settings
from penstock.server.openapi import describe_api
from penstock.server.routes import ENDPOINTS

ROOT = Path(__file__).parents[1]
REFERENCE = ROOT / "docs" / "reference"
PAGES = sorted(
    page
    for page in (*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/**/*.md"),
                 *ROOT.glob("benchmarks/*.md"))
)  # fmt: skip
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ +(.+)$", re.MULTILINE)
FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)


def named(page: Path) -> str:
    return str(page.relative_to(ROOT))


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page as GitHub makes them from headings."""
    text = FENCE.sub("", page.read_text())
    return {
        re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-")
        for heading in HEADING.findall(text)
    }


def test_the_generated_pages_are_fresh() -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "docs" / "generate.py", "--check"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_every_relative_link_leads_to_a_file_and_a_heading(page: Path) -> None:
    broken = []
    for target in LINK.findall(FENCE.sub("", page.read_text())):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        found = (page.parent / path).resolve() if path else page
        if not found.exists() or (anchor and anchor not in anchors(found)):
            broken.append(target)
    assert broken == []


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_no_page_names_a_folder_of_somebodys_machine(page: Path) -> None:
    assert not re.findall(r"(?<![\w.])/(?:work|root|home/\w+|Users/\w+)/\S*", page.read_text())


def test_every_error_code_is_explained() -> None:
    page = (REFERENCE / "errors.md").read_text()
    abstract = {"client_error", "engine_error", "request_error", "error", "internal"}
    missing = {c for c in BY_CODE if f"`{c}`" not in page and BY_CODE[c].__subclasses__() == []}
    assert missing - abstract == set()


@pytest.mark.parametrize("name", penstock.__all__)
def test_every_public_name_has_a_section(name: str) -> None:
    assert f"\n## `{name}`\n" in (REFERENCE / "python.md").read_text()


def routes() -> list[str]:
    described = describe_api(ENDPOINTS, "", "")
    return [f"{m.upper()} {path}" for path, found in described["paths"].items() for m in found]


@pytest.mark.parametrize("route", routes())
def test_every_route_of_the_openapi_document_has_a_section(route: str) -> None:
    assert f"\n## `{route}`\n" in (REFERENCE / "http.md").read_text()


def test_every_setting_has_a_row_with_its_option_variable_and_meaning() -> None:
    page = (REFERENCE / "settings.md").read_text()
    for setting in describe_settings():
        variable = f" | `{setting.environment}` | "
        [row] = [line for line in page.splitlines() if variable in line]
        option = f"`--{setting.name.replace('_', '-')}`"
        assert row.split(" | ")[0] in {f"| {option}", "| –"}, row  # keys have no option
        assert len(row.split(" | ")[-1].split()) > 2, row


@pytest.mark.parametrize("member", sorted(penstock.model_type.__members__))
def test_every_model_type_has_a_row(member: str) -> None:
    assert f"\n| `{member}` | " in (REFERENCE / "model-types.md").read_text()


def commands() -> dict[str, Any]:
    """Return every command by its words: `list`, `keys create`."""
    group: Any = typer.main.get_command(build())
    found = {}
    for name, command in group.commands.items():
        found[name] = command
        found |= {f"{name} {sub}": c for sub, c in getattr(command, "commands", {}).items()}
    return found


@pytest.mark.parametrize("command", commands())
def test_every_command_has_a_section_with_its_options(command: str) -> None:
    page = (REFERENCE / "cli.md").read_text()
    assert f"\n## `penstock {command}`\n" in page
    section = page.split(f"\n## `penstock {command}`\n")[1].split("\n## ")[0]
    for parameter in commands()[command].params:
        assert f"`{parameter.opts[0]}`" in section


def test_every_picture_is_shown_somewhere() -> None:
    pages = "".join(page.read_text() for page in PAGES)
    pictures = (ROOT / "docs" / "images").iterdir()
    assert [one.name for one in pictures if f"images/{one.name})" not in pages] == []


def test_the_tests_that_show_the_promises_about_faults_exist() -> None:
    page = ROOT / "docs" / "architecture" / "06-faults-and-recovery.md"
    rows = page.read_text().split("| promise | ")[1].split("\n## ")[0]
    named_there = re.findall(r"`((?:integration|unit|benchmarks)/[^`]+\.py)`", rows)
    assert len(named_there) > 20
    for path in named_there:
        place = ROOT if path.startswith("benchmarks/") else ROOT / "tests"
        assert (place / path).exists(), path


def test_every_json_block_of_a_page_is_json() -> None:
    """A last `…` stands for further fields."""
    for page in PAGES:
        for block in re.findall(r"^```json\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL):
            json.loads(block.replace(", …}", "}"))
