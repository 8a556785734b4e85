"""Folders travel as files: which are taken, which paths are refused, how they are laid out."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any

import msgspec
import pytest

from penstock.codec.bundle import Blob, FolderFile, Manifest, StageEntry, read_manifest
from penstock.codec.model_folders import check_paths, files_of, lay_out, listing_digest
from penstock.core.errors import InvalidManifest, MissingModelFile
from penstock.core.interpreter import Interpreter


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "pipeline"
    (root / "vocab" / "deep").mkdir(parents=True)
    (root / "meta.json").write_text("{}")
    (root / "vocab" / "strings.json").write_text("[]")
    (root / "vocab" / "deep" / "empty").touch()
    return root


def test_a_folder_is_its_files_by_path_in_a_fixed_order(folder: Path) -> None:
    (folder / ".git").mkdir()
    (folder / ".git" / "HEAD").write_text("ref")
    found = files_of(folder)
    assert list(found) == ["meta.json", "vocab/deep/empty", "vocab/strings.json"]
    assert found["meta.json"] == folder / "meta.json"


def test_links_are_followed_because_downloads_of_models_are_made_of_them(
    folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "blobs").mkdir()
    (tmp_path / "blobs" / "abc").write_text("weights")
    (folder / "model.safetensors").symlink_to(tmp_path / "blobs" / "abc")
    (folder / "more").symlink_to(tmp_path / "blobs", target_is_directory=True)
    found = files_of(folder)
    assert found["model.safetensors"].read_text() == "weights"
    assert found["more/abc"].read_text() == "weights"


def test_a_link_to_a_folder_it_is_in_is_refused(folder: Path) -> None:
    (folder / "vocab" / "again").symlink_to(folder, target_is_directory=True)
    with pytest.raises(MissingModelFile, match="a link to a folder that it is in"):
        files_of(folder)


def test_a_link_that_leads_nowhere_is_refused(folder: Path) -> None:
    (folder / "lost").symlink_to(folder / "nowhere")
    with pytest.raises(MissingModelFile, match="leads nowhere"):
        files_of(folder)


def test_what_is_no_file_is_refused(folder: Path) -> None:
    os.mkfifo(folder / "pipe")
    with pytest.raises(MissingModelFile, match="neither a file nor a folder"):
        files_of(folder)


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(MissingModelFile, match="has no files"):
        files_of(tmp_path)


BAD_PATHS = [
    ["/etc/passwd"],
    ["../up"],
    ["a/../../up"],
    ["a//b"],
    ["a/./b"],
    [""],
    ["a/"],
    ["a\\b"],
    ["a\x00b"],
    ["a\nb"],
    ["x" * 300],
    ["a/" * 600 + "b"],
    ["a", "a"],
    ["a", "a/b"],
    ["a/b", "a/b/c"],
    [f"file{n}" for n in range(10_001)],
]


@pytest.mark.parametrize("paths", BAD_PATHS, ids=lambda paths: ascii(paths[0])[:20])
def test_a_path_that_leaves_the_folder_or_cannot_be_made_is_refused(
    paths: list[str], tmp_path: Path
) -> None:
    with pytest.raises(InvalidManifest):
        check_paths(paths)
    if len(set(paths)) == len(paths):
        with pytest.raises(InvalidManifest):
            lay_out(dict.fromkeys(paths, tmp_path), tmp_path / "out", "m")
    assert not (tmp_path / "out").exists()


def test_ordinary_names_of_any_script_are_allowed() -> None:
    check_paths(["model.bin", "vocab/strings.json", "été/模型.json", "a b/c", "...", ".hidden"])


def test_a_folder_laid_out_has_the_files_and_shares_the_large_ones(
    folder: Path, tmp_path: Path
) -> None:
    (folder / "weights").write_bytes(bytes(5 << 20))
    root = lay_out(files_of(folder), tmp_path / "out", "../my pipeline")
    assert root.parent.parent == tmp_path / "out"
    assert root.name == "_my_pipeline"
    assert list(files_of(root)) == list(files_of(folder))
    assert (root / "meta.json").read_text() == "{}"
    assert (root / "weights").samefile(folder / "weights")
    (root / "meta.json").write_text("changed")
    assert (folder / "meta.json").read_text() == "{}"
    again = lay_out(files_of(folder), tmp_path / "out", "pipeline")
    assert again != root


def manifest_of(files: dict[str, str], **changes: Any) -> bytes:
    entries = [FolderFile(path, Blob(path, sha256, 3)) for path, sha256 in files.items()]
    model = Blob("pipeline", listing_digest(files.items()), 3 * len(files))
    stage = StageEntry("mlflow", msgspec.structs.replace(model, **changes), files=entries)
    return msgspec.json.encode(Manifest(Interpreter.current(), [stage]))


A, B = "a" * 64, "b" * 64


def test_a_manifest_lists_a_folders_files_and_not_the_folder() -> None:
    manifest = read_manifest(manifest_of({"x": A, "y/z": B, "y/same": A}))
    assert set(manifest.blobs()) == {A, B}
    assert manifest.stages[0].title == "pipeline"


def test_a_manifest_whose_folder_is_not_its_files_is_refused() -> None:
    for change in ({"sha256": A}, {"size": 1}):
        with pytest.raises(InvalidManifest, match="not described by its files"):
            read_manifest(manifest_of({"x": A}, **change))


def test_a_manifest_with_a_path_out_of_the_folder_is_refused() -> None:
    with pytest.raises(InvalidManifest, match="inside a model folder"):
        read_manifest(manifest_of({"../../etc/cron.d/x": A}))


def test_sockets_do_not_travel(folder: Path) -> None:
    with socket.socket(socket.AF_UNIX) as sock:
        here = os.getcwd()
        os.chdir(folder)  # the path of a socket is short
        try:
            sock.bind("s")
        finally:
            os.chdir(here)
    with pytest.raises(MissingModelFile, match="neither a file nor a folder"):
        files_of(folder)
