"""One connection to PostgreSQL that mends itself, and the deadlines that no use of it outlasts."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final, Literal

import psycopg
from psycopg.conninfo import conninfo_to_dict
from psycopg.types.json import set_json_loads

from gateway.state.protocols import RowRefused, StoreUnavailable

Connection = psycopg.Connection[tuple[Any, ...]]
Access = Literal["READ WRITE", "ISOLATION LEVEL REPEATABLE READ READ ONLY"]  # what is read together is of one moment

GRACE_S: Final = 2.0  # for the server to say that a statement took too long

# Under what a URL says itself. A peer that is silently gone is found out within half a minute.
_DEFAULTS: Final[Mapping[str, str | int]] = {
    "application_name": "headgate",
    "connect_timeout": 5,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
}


def parameters_of(url: str) -> Mapping[str, Any]:
    """Reads a `postgresql://` URL; raises ValueError, which does not repeat it: it may hold a password."""
    try:
        return {**_DEFAULTS, **conninfo_to_dict(url)}
    except psycopg.Error:
        raise ValueError("write postgresql://user:password@host:5432/database") from None


class Session:
    """Makes transactions, one at a time, over one connection; connects at the first and after every failure."""

    def __init__(self, parameters: Mapping[str, Any], access: Access) -> None:
        self._parameters = parameters
        self._access = access
        self._one_at_a_time = threading.Lock()
        self._connection: Connection | None = None

    @contextmanager
    def transaction(self, deadline_s: float) -> Iterator[Connection]:
        """Commits what is done within, durably, unless that raises.

        Raises StoreUnavailable where the server is away, refuses to work or takes longer than the deadline (then it is
        unknown whether the transaction was committed), RowRefused where it does not take a value.
        """
        if not self._one_at_a_time.acquire(timeout=deadline_s):
            raise StoreUnavailable(f"the PostgreSQL store: busy for {deadline_s:g} s")
        try:
            connection = self._begun(deadline_s)
            with _cut_off(connection, deadline_s + GRACE_S):
                yield connection
                connection.execute("COMMIT")
        except (psycopg.IntegrityError, psycopg.DataError) as error:
            self._drop()
            raise RowRefused(_told(error)) from error
        except psycopg.Error as error:
            self._drop()
            raise StoreUnavailable(_told(error)) from error
        except BaseException:
            self._drop()
            raise
        finally:
            self._one_at_a_time.release()

    def close(self) -> None:
        """Closes the connection, after a transaction that may be going on."""
        with self._one_at_a_time:
            self._drop()

    def _begun(self, deadline_s: float) -> Connection:
        """Returns the connection with a transaction begun; one that has ended while it was idle is made anew."""
        if self._connection is not None:
            try:
                return self._begin(self._connection, deadline_s)
            except psycopg.OperationalError:
                self._drop()
        # Statements are not prepared: behind a pooler the next transaction may meet another server process.
        self._connection = psycopg.connect(**self._parameters, autocommit=True, prepare_threshold=None)
        set_json_loads(_verbatim, self._connection)
        return self._begin(self._connection, deadline_s)

    def _begin(self, connection: Connection, deadline_s: float) -> Connection:
        """Begins in one round trip.

        A server is not left at work for, nor with the locks of, a gateway that has gone. What is committed must outlive
        a power cut, since its journal segment is then deleted: `synchronous_commit = off` of a server does not hold.
        """
        milliseconds = int(deadline_s * 1000)
        with _cut_off(connection, deadline_s + GRACE_S):
            connection.execute(
                f"BEGIN {self._access}; SET LOCAL statement_timeout = {milliseconds}; "
                f"SET LOCAL idle_in_transaction_session_timeout = {milliseconds}; "
                "SET LOCAL client_min_messages = warning; SELECT set_config('synchronous_commit', 'on', true) "
                "WHERE current_setting('synchronous_commit') = 'off'".encode()
            )
        return connection

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


@contextmanager
def _cut_off(connection: Connection, after_s: float) -> Iterator[None]:
    """Shuts a connection whose server does not answer: a stopped one's kernel still acknowledges, and libpq waits."""
    wire = socket.socket(fileno=os.dup(connection.fileno()))
    late = threading.Event()

    def shut() -> None:
        late.set()
        with contextlib.suppress(OSError):
            wire.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(after_s, shut)
    timer.daemon = True
    timer.start()
    try:
        yield
    except psycopg.OperationalError as error:
        if late.is_set():
            raise StoreUnavailable(f"the PostgreSQL store: no answer within {after_s:g} s") from error
        raise
    finally:
        timer.cancel()
        timer.join()
        wire.close()


def _verbatim(data: str | bytes) -> str | bytes:
    return data


def _told(error: psycopg.Error) -> str:
    """Says what is wrong without what the server adds in detail, which may quote a row."""
    return "the PostgreSQL store: " + " ".join((error.diag.message_primary or str(error)).split())
