"""Small rules of the local engine: back-off, environment, begun page, exits, errors."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest

from penstock.engine.base import Body, Call, VersionKey
from penstock.engine.local import begun, failures
from penstock.engine.local.begun import BegunPage, Place
from penstock.engine.local.child_env import child_environment
from penstock.engine.local.exits import Child, Exit
from penstock.engine.local.supervisor import back_off_s

KEY = VersionKey("lab", "digits", 3)


def call() -> Call:
    return Call("run-1", b"", Body(b""), 0, 2_000_000_000, lambda *_: None)


def test_the_first_failure_is_replaced_at_once_then_one_second_doubling_to_a_minute():
    waits = [back_off_s(failed) for failed in range(1, 11)]
    assert waits == [0, 1, 2, 4, 8, 16, 32, 60, 60, 60]


def test_only_listed_variables_reach_children():
    env = child_environment({"PATH": "/bin", "LC_ALL": "C", "PENSTOCK_ADMIN_KEY": "s", "X": "y"})
    assert (env["PATH"], env["LC_ALL"]) == ("/bin", "C")
    assert not {"PENSTOCK_ADMIN_KEY", "X"} & set(env)


def test_children_compute_with_the_kernels_that_were_chosen_for_the_server_but_one_thread():
    chosen = {"OPENBLAS_CORETYPE": "Haswell", "CUBLAS_WORKSPACE_CONFIG": ":4096:8"}
    env = child_environment({"PATH": "/bin", "OPENBLAS_NUM_THREADS": "8", **chosen})
    assert {name: env[name] for name in chosen} == chosen
    assert env["OPENBLAS_NUM_THREADS"] == "1"


def test_what_is_about_the_servers_libraries_stays_out_of_other_environments():
    own = {"PATH": "/bin", "KERAS_BACKEND": "torch", "PYTHONPATH": "/srv", "KERAS_HOME": "/k"}
    assert child_environment(own)["KERAS_BACKEND"] == "torch"
    env = child_environment(own, Path("/environments/a/bin/python"))
    assert not {"KERAS_BACKEND", "PYTHONPATH"} & set(env)
    assert (env["KERAS_HOME"], env["VIRTUAL_ENV"]) == ("/k", "/environments/a")
    assert env["PATH"] == "/environments/a/bin:/bin"


def test_the_begun_page_tells_what_a_worker_wrote():
    fd = begun.create()
    assert begun.read(fd) == Place(0, 0, "")
    page = BegunPage(fd)
    page.begin(41)
    page.at(2, 3)
    assert begun.read(fd) == Place(41, 2, "post")
    os.close(fd)


def test_the_begun_page_cannot_be_shortened_by_a_worker():
    fd = begun.create()
    with pytest.raises(PermissionError):
        os.ftruncate(fd, 0)
    os.close(fd)


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("import os; os._exit(7)", Exit(7, "")),
        ("import os; os.kill(os.getpid(), 9)", Exit(0, "SIGKILL")),
    ],
)
def test_a_child_is_followed_to_its_end_and_reaped(code, expected):
    process = subprocess.Popen([sys.executable, "-I", "-S", "-c", code])
    pid, process.returncode = process.pid, 0
    ends = []

    async def main() -> None:
        child = Child(asyncio.get_running_loop(), pid, ends.append)
        await asyncio.wait_for(child.ended.wait(), 10)
        assert child.exit == expected
        assert ends == [child]
        child.kill()

    asyncio.run(main())
    with pytest.raises(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)


def test_a_dead_worker_is_named_with_run_stage_and_signal():
    error = failures.worker_died(KEY, call(), Exit(0, "SIGSEGV"), "", Place(1, 2, "model"))
    assert (
        error.message
        == "The worker of lab/digits version 3 died (SIGSEGV) while it held run run-1."
    )
    assert (error.stage, error.function) == (2, "model")
    assert "another version of Python" in error.hint


def test_an_overdue_call_says_where_its_time_went():
    waited = failures.overdue(KEY, call(), None)
    assert "within 2 s" in waited.message
    assert "waited" in waited.message
    assert failures.overdue(KEY, call(), Place(1, 1, "pre")).stage == 1
