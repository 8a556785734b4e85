from __future__ import annotations

import pytest

from penstock.core.errors import Conflict, InvalidName, NotFound


def test_a_project_is_made_once_and_found_again(with_parts):
    async def scenario(parts):
        made = await parts.projects.add("vision")
        assert (made.name, made.created_at) == ("vision", 1000.0)
        assert await parts.projects.get("vision") == made
        with pytest.raises(Conflict, match="'vision'"):
            await parts.projects.add("vision")
        assert await parts.projects.list() == [made]

    with_parts(scenario)


def test_ensure_makes_a_project_only_if_it_is_not_there(with_parts):
    async def scenario(parts):
        first = await parts.projects.ensure("vision")
        parts.clock.time += 50
        assert await parts.projects.ensure("vision") == first

    with_parts(scenario)


@pytest.mark.parametrize("name", ["", "../x", "Vision", "projects", "a" * 21, None])
def test_a_name_that_is_not_legal_makes_no_project(with_parts, name):
    async def scenario(parts):
        for make in (parts.projects.add, parts.projects.ensure):
            with pytest.raises(InvalidName):
                await make(name)
        assert await parts.projects.list() == []

    with_parts(scenario)


def test_an_unknown_project_is_not_found(with_parts):
    async def scenario(parts):
        with pytest.raises(NotFound, match="'nobody'"):
            await parts.projects.get("nobody")

    with_parts(scenario)
