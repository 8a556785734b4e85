"""A PostgreSQL server of the tests' own, in a folder that goes with it."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from urllib.parse import quote

from ports import free_port

#: Whose processes they are where the tests run as root, which initdb refuses.
USER = "nobody"
SUPERUSER = "penstock"
PASSWORD = "pass word/with:@signs%"

_PROGRAMS = ("initdb", "pg_ctl")


def programs() -> Path | None:
    """Return the folder of PostgreSQL's programs; Debian keeps them out of PATH."""
    versions = sorted(
        Path("/usr/lib/postgresql").glob("*/bin"), key=lambda p: -float(p.parent.name)
    )
    on_path = shutil.which("pg_ctl")
    places = [*versions, *([Path(on_path).resolve().parent] if on_path else [])]
    return next((p for p in places if all((p / name).exists() for name in _PROGRAMS)), None)


class Cluster:
    """A server on a unix socket and on a port of 127.0.0.1; there it asks for the password.

    Attributes:
        socket_folder: Where its socket is; the path is short, for sockets have a limit.
        port: Its TCP port.
    """

    def __init__(self, bin_folder: Path) -> None:
        self._bin = bin_folder
        self._as = {"user": USER} if os.geteuid() == 0 else {}
        self.root = Path(tempfile.mkdtemp(prefix="pg-"))
        self.socket_folder = self.root / "s"
        self.socket_folder.mkdir()
        self.port = free_port()
        password = self.root / "password"
        password.write_text(PASSWORD)
        if self._as:
            for path in (self.root, self.socket_folder, password):
                shutil.chown(path, USER)
        data = self.root / "data"
        options = ["--auth-local=trust", "--auth-host=scram-sha-256", f"--pwfile={password}"]
        self._run("initdb", "-D", data, "-U", SUPERUSER, "-E", "UTF8", "--no-sync", *options)
        self._data = data
        self._databases = 0
        self.start()

    def start(self) -> None:
        """Start it and wait until it takes connections."""
        options = f"-k {self.socket_folder} -h 127.0.0.1 -p {self.port} -c max_connections=40"
        log = self.root / "log"
        self._run("pg_ctl", "-D", self._data, "-l", log, "-w", "-o", options, "start")

    def stop(self, mode: str = "fast") -> None:
        """Stop it: `fast` ends sessions, `immediate` is a crash."""
        self._run("pg_ctl", "-D", self._data, "-w", "-m", mode, "stop")

    def crash(self) -> None:
        """End it without warning, and start it again: it recovers from its log."""
        self.stop("immediate")
        self.start()

    def start_if_stopped(self) -> None:
        """Start it again for the next test."""
        if not (self._data / "postmaster.pid").exists():
            self.start()

    def remove(self) -> None:
        """Stop it and remove everything."""
        try:
            if (self._data / "postmaster.pid").exists():
                self.stop("immediate")
        finally:
            shutil.rmtree(self.root, ignore_errors=True)

    def _run(self, program: str, *arguments: object) -> None:
        # The server inherits the output of pg_ctl: a pipe would never end.
        with tempfile.TemporaryFile() as said:
            done = subprocess.run(
                [str(self._bin / program), *map(str, arguments)],
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=subprocess.STDOUT,
                cwd="/",
                timeout=60,
                check=False,
                **self._as,
            )
            said.seek(0)
            assert done.returncode == 0, said.read().decode(errors="replace")

    @property
    def version(self) -> str:
        """Like `15.4`."""
        [(text,)] = self.execute("postgres", "SHOW server_version")
        return str(text).split()[0]

    def url(self, database: str) -> str:
        """Return the address of a database by the socket."""
        return f"postgresql://{SUPERUSER}@/{database}?host={self.socket_folder}&port={self.port}"

    def tcp_url(self, database: str, password: str = PASSWORD) -> str:
        """Return the address of a database by TCP, with the password."""
        secret = quote(password, safe="")
        return f"postgresql://{SUPERUSER}:{secret}@127.0.0.1:{self.port}/{database}"

    def new_database(self) -> str:
        """Create an empty database and return its name."""
        self._databases += 1
        name = f"penstock_{os.getpid()}_{self._databases}"
        self.execute("postgres", f"CREATE DATABASE {name}")
        return name

    def execute(self, database: str, *statements: str) -> list[tuple[object, ...]]:
        """Run statements, each by itself; return the rows of the last."""
        import psycopg

        with psycopg.connect(self.url(database), autocommit=True) as connection:
            for statement in statements:
                found = connection.execute(statement)
            return found.fetchall() if found.description else []
