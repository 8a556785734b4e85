"""Requirements as people write them."""

from __future__ import annotations

from pathlib import Path

import pytest

from penstock.core.errors import InvalidRequirement
from penstock.environments.requirements import check, is_wheel, name_of, read_file


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Pillow", "pillow"),
        ("scikit_learn == 1.2", "scikit-learn"),
        ("ruamel.yaml>=0.1", "ruamel-yaml"),
        ("uvicorn[standard]>=0.40; python_version > '3.9'", "uvicorn"),
        ("thing @ https://files.example/thing-1.0-py3-none-any.whl", "thing"),
    ],
)
def test_a_requirement_names_its_distribution(text: str, name: str) -> None:
    assert check([text]) == [text]
    assert name_of(text) == name


@pytest.mark.parametrize(
    "text",
    ["", "a\nb", "./folder", "/abs", "~/x", "file:///x", "mine/part", "-e .", "-c limits.txt",
     "--hash=sha256:00", "two words", "?", "x" * 20_001, "own @ file:///x.whl", "own @ /x",
     "own @ ./x", "numpy>=1\r-r /etc/shadow", "numpy>=1\x0b-r x", "numpy>=1\u2028x", "a>=1\x00",
     "own @ https://files.example/${PENSTOCK_ADMIN_KEY}/own.whl"],
)  # fmt: skip
def test_what_is_no_requirement_is_refused_with_what_to_write(text: str) -> None:
    with pytest.raises(InvalidRequirement) as caught:
        check([text])
    assert caught.value.hint or "one line" in caught.value.message


def test_no_line_can_bring_a_second_one_into_the_resolvers_file() -> None:
    for code in range(0x3000):
        try:
            (line,) = check([f"numpy>=1{chr(code)}-r /etc/shadow"])
        except InvalidRequirement:
            continue
        assert line.isprintable(), hex(code)
    assert check(["numpy\t>=1"]) == ["numpy >=1"]


def test_a_text_in_place_of_a_list_is_refused() -> None:
    with pytest.raises(InvalidRequirement, match="is the text"):
        check("pandas")


def test_a_file_is_read_with_comments_continuations_hashes_and_files_it_includes(
    tmp_path: Path,
) -> None:
    (tmp_path / "more.txt").write_text("six>=1  # old\n")
    (tmp_path / "all.txt").write_text(
        "# first\nnumpy==2.0 \\\n    --hash=sha256:aa \\\n    --hash=sha256:bb\n\n-r more.txt\n"
        "dist/own-1.0-py3-none-any.whl\npandas"
    )
    assert read_file(tmp_path / "all.txt") == [
        "numpy==2.0 --hash=sha256:aa --hash=sha256:bb",
        "six>=1",
        "dist/own-1.0-py3-none-any.whl",
        "pandas",
    ]


def test_a_line_that_is_refused_is_named_with_its_file(tmp_path: Path) -> None:
    path = tmp_path / "r.txt"
    path.write_text("numpy\n--index-url https://x\n")
    with pytest.raises(InvalidRequirement, match=r"r.txt, line 2: .*setting of the server"):
        read_file(path)


def test_a_file_that_is_missing_or_includes_itself_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequirement, match="cannot be read"):
        read_file(tmp_path / "none.txt")
    (tmp_path / "round.txt").write_text("-r round.txt\n")
    with pytest.raises(InvalidRequirement, match="includes itself"):
        read_file(tmp_path / "round.txt")


def test_a_wheel_is_a_path_and_not_an_address() -> None:
    assert is_wheel("dist/a-1-py3-none-any.whl")
    assert not is_wheel("a @ https://files.example/a-1-py3-none-any.whl")


def test_too_many_requirements_are_refused_before_one_is_looked_at() -> None:
    with pytest.raises(InvalidRequirement, match="There are 501 requirements; at most 500"):
        check(["-e ."] * 501)
