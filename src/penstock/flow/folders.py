"""The folder of a run, for who asks for it by name instead of writing where it stands.

The usual way to a run's folder is the working directory (`penstock.flow.desk`). Where the working
directory is not the run's own, because several `async` functions share it, `OWN_FOLDER` makes one.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from contextvars import ContextVar
from itertools import count
from pathlib import Path

from penstock.flow.context import CURRENT, Run

#: Makes a folder for the present run; None where the working directory is, or becomes, the run's.
OWN_FOLDER: ContextVar[Callable[[], str] | None] = ContextVar("penstock_folder", default=None)


def run_folder() -> str:
    """Return the path of the present run's own folder, which goes away when the run is answered.

    In plain functions it is the working directory. `async` functions share a working directory, so
    that only paths below this one are the run's own.

    Outside a run it is the working directory.
    """
    run = CURRENT.get()
    return os.getcwd() if run is None else folder_of(run)


def folder_of(run: Run) -> str:
    """Return the folder of a run; call it in one of the run's functions."""
    if run.folder is not None:
        return run.folder
    make = OWN_FOLDER.get()
    if make is not None:
        run.folder = make()
        return run.folder
    here = os.getcwd()
    os.utime(here)  # to the desk it now looks used, and so it stays with the run
    return here


class Folders:
    """Makes folders for runs, anywhere but in the working directory.

    Args:
        scratch: The folder they are made in.
    """

    def __init__(self, scratch: Path) -> None:
        self._scratch = scratch.resolve()
        self._scratch.mkdir(parents=True, exist_ok=True)
        self._numbers = count(1)

    def make(self) -> str:
        """Make a folder and return its path."""
        path = self._scratch / f"own-{os.getpid()}-{next(self._numbers)}"
        shutil.rmtree(path, ignore_errors=True)  # a killed worker may have left one
        path.mkdir()
        return str(path)


def remove(folder: str | None) -> None:
    """Remove the folder of a run that is over, if it had one."""
    if folder is not None:
        shutil.rmtree(folder, ignore_errors=True)


# Functions that use it are pickled with the public path, which every release keeps.
run_folder.__module__ = "penstock"
