"""The site of the documents, and the files of the server that they offer."""

from __future__ import annotations

import html.parser
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote

import pytest

from penstock.server.load_settings import describe_settings

zensical = pytest.importorskip("zensical")

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
CONFIG = ROOT / "zensical.toml"
UNIT = DOCS / "server" / "penstock.service"
DOCKERFILE = DOCS / "server" / "Dockerfile"

#: Variables of the unit and the image that are no settings of the server.
OTHER = {"PENSTOCK_PROFILE", "PENSTOCK_COMPILE"}


def built(folder: Path) -> subprocess.CompletedProcess[str]:
    """Build the site of the `docs/` in `folder`, every warning an error."""
    command = [str(Path(sys.executable).with_name("zensical")), "build", "--strict"]
    return subprocess.run(
        command,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, "NO_COLOR": "1"},
    )


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The documents and the site's configuration, away from the checkout."""
    folder = tmp_path_factory.mktemp("site")
    shutil.copytree(DOCS, folder / "docs", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(CONFIG, folder)
    return folder


@pytest.fixture(scope="module")
def site(source: Path) -> Path:
    done = built(source)
    assert done.returncode == 0, done.stdout + done.stderr
    return source / "site"


class Links(html.parser.HTMLParser):
    """Collects where a page of the site leads, and the places in it."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.targets: list[str] = []
        self.places: set[str] = set()
        self.feed(page.read_text())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note one element."""
        found = dict(attrs)
        target = found.get("href") if tag == "a" else found.get("src")
        if target:
            self.targets.append(target)
        if found.get("id"):
            self.places.add(str(found["id"]))


def test_every_page_is_in_the_navigation_and_becomes_a_page_of_the_site(site: Path) -> None:
    named = set(re.findall(r'"([\w/-]+\.md)"', CONFIG.read_text()))
    pages = {page.relative_to(DOCS).as_posix() for page in DOCS.glob("**/*.md")}
    assert named == pages
    assert [page for page in pages if not (site / page).with_suffix(".html").exists()] == []


def test_every_link_of_the_site_between_its_pages_leads_to_a_page_and_a_place(site: Path) -> None:
    found = {page: Links(page) for page in site.glob("**/*.html") if page.name != "404.html"}
    broken = []
    for page, links in found.items():
        for target in links.targets:
            if re.match(r"[a-z]+:|//", target):
                continue
            path, _, anchor = unquote(target).partition("#")
            leads = (page.parent / path).resolve() if path else page
            leads = leads / "index.html" if leads.is_dir() else leads
            inside = leads.is_relative_to(site)
            if inside and (not leads.exists() or (anchor and leads in found
                           and anchor not in found[leads].places)):  # fmt: skip
                broken.append(f"{page.relative_to(site)}: {target}")
    assert broken == []


def test_a_page_that_is_missing_fails_the_build(source: Path, tmp_path: Path) -> None:
    copy = tmp_path / "broken"
    shutil.copytree(source, copy, ignore=shutil.ignore_patterns("site", ".cache"))
    (copy / "docs" / "glossary.md").unlink()
    done = built(copy)
    assert done.returncode != 0
    assert "page does not exist" in done.stdout + done.stderr


def variables(text: str) -> set[str]:
    return set(re.findall(r"PENSTOCK_[A-Z_]+", text))


@pytest.mark.parametrize(
    "path", [UNIT, DOCKERFILE, DOCS / "how-to/systemd.md", DOCS / "how-to/docker.md"],
    ids=lambda path: path.name,
)  # fmt: skip
def test_the_settings_it_names_exist(path: Path) -> None:
    known = {setting.environment for setting in describe_settings()}
    assert variables(path.read_text()) - known - OTHER == set()


def test_what_the_dockerfile_copies_and_installs_is_in_the_repository() -> None:
    """It is not built here: that needs Docker and a network."""
    text = DOCKERFILE.read_text()
    for line in re.findall(r"^COPY (?!--from)(.+)$", text, re.MULTILINE):
        assert all((ROOT / source).exists() for source in line.split()[:-1]), line
    extras = re.search(r"^ARG EXTRAS=(\S+)$", text, re.MULTILINE)
    assert extras is not None
    project = (ROOT / "pyproject.toml").read_text()
    assert [e for e in extras[1].split(",") if f"\n{e} = [" not in project] == []


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
def test_systemd_accepts_the_unit(tmp_path: Path) -> None:
    # systemd looks whether the program and the user are there; this machine has others.
    text = UNIT.read_text().replace("/opt/penstock/bin/penstock", "/bin/true")
    unit = tmp_path / UNIT.name
    unit.write_text(text.replace("User=penstock", "User=root"))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", unit],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    said = [line for line in (done.stdout + done.stderr).splitlines() if UNIT.name in line]
    assert (done.returncode, said) == (0, [])
