"""A PostgreSQL server that tests start, stop, kill and start again: on a Unix socket, in a folder of its own."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest


@contextmanager
def postgres_server() -> Iterator[PostgresServer]:
    """Runs a server; skips where there is none to run."""
    programs = _programs()
    if programs is None:
        pytest.skip("no PostgreSQL here: apt-get install postgresql")
    server = PostgresServer(programs)
    try:
        yield server
    finally:
        server.remove()


def _programs() -> Path | None:
    """Where PostgreSQL's programs lie: on the path, or where Debian puts the newest."""
    found = shutil.which("initdb")
    if found is not None:
        return Path(found).resolve().parent
    versions = Path("/usr/lib/postgresql").glob("*/bin/initdb")
    return max((file.parent for file in versions), key=lambda folder: float(folder.parent.name), default=None)


class PostgresServer:
    """One server. PostgreSQL refuses to run as root: then it runs as `nobody`, outside of what only root may read."""

    def __init__(self, programs: Path) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="headgate-pg-"))
        self._programs = programs
        self._as: dict[str, object] = {}
        if os.geteuid() == 0:
            nobody = pwd.getpwnam("nobody")
            os.chown(self.folder, nobody.pw_uid, nobody.pw_gid)
            self._as = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
        self._data = self.folder / "data"
        self._log = (self.folder / "log").open("wb")
        self._process: subprocess.Popen[bytes] | None = None
        self._databases = 0
        options = ["--username=headgate", "--auth=trust", "--no-sync", "--encoding=UTF8", "--locale=C.UTF-8"]
        self._run([str(programs / "initdb"), f"--pgdata={self._data}", *options])
        self.start()

    def url(self, database: str = "postgres") -> str:
        return f"postgresql://headgate@/{database}?host={self.folder}"

    def new_database(self, options: str = "") -> str:
        """Makes a database, and returns its URL."""
        self._databases += 1
        name = f"database_{self._databases}"
        with psycopg.connect(self.url(), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name} {options}".encode())
        return self.url(name)

    def start(self) -> None:
        """Starts the server, and returns when it answers; again, where one that was killed is not quite gone."""
        settings = {
            "listen_addresses": "",
            "unix_socket_directories": str(self.folder),
            "shared_buffers": "16MB",
            "max_connections": "40",
            "log_min_messages": "fatal",
        }
        command = [str(self._programs / "postgres"), "-D", str(self._data)]
        for name, value in settings.items():
            command += ["-c", f"{name}={value}"]
        until = time.monotonic() + 60
        while True:
            if self._process is None or self._process.poll() is not None:
                self._process = subprocess.Popen(command, stdout=self._log, stderr=self._log, **self._as)  # type: ignore[call-overload]
            try:
                psycopg.connect(self.url(), connect_timeout=2).close()
                return
            except psycopg.OperationalError:
                if time.monotonic() > until:
                    raise
                time.sleep(0.02)

    def stop(self) -> None:
        """Ends the server as an operator does who does not wait for its clients."""
        assert self._process is not None
        self._process.send_signal(signal.SIGINT)
        self._process.wait()

    def kill(self) -> None:
        """Kills every process of the server at once."""
        self._signal(signal.SIGKILL)
        assert self._process is not None
        self._process.wait()

    def pause(self) -> None:
        """Stops every process of the server: what is sent to it is acknowledged and never read."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    def remove(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self.kill()
        self._log.close()
        shutil.rmtree(self.folder)

    def _run(self, command: list[str]) -> None:
        subprocess.run(command, check=True, stdout=self._log, stderr=self._log, **self._as)  # type: ignore[call-overload]

    def _signal(self, number: signal.Signals) -> None:
        """Signals the first process and all that it made; it stops before, lest it make another meanwhile."""
        assert self._process is not None
        first = self._process.pid
        os.kill(first, signal.SIGSTOP)
        children = Path(f"/proc/{first}/task/{first}/children").read_text().split()
        for process in (*map(int, children), first):
            try:
                os.kill(process, number)
            except ProcessLookupError:
                pass
