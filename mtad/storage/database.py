"""Database: connections, the one writer, group commit, migrations.

Room: storage. May import: mail. Everything durable goes through `Database`: intents that arrive while a commit is
running share the next one, and each caller's future resolves only after that commit is synced.

SQLite's Python binding gives up the interpreter lock at every step of a statement, and gets it back only when the
loop's thread lets go. So a batch is written with few, multi-row statements (`insert_rows`), not row by row.
"""

import asyncio
import re
import sqlite3
import sys
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from importlib import resources
from pathlib import Path
from typing import Any, Generic, TypeVar

import aiosqlite

from mtad import log as log_module
from mtad.clock import Clock

log = log_module.get("storage")

T = TypeVar("T")
Item = TypeVar("Item")

_PRAGMAS = (
    "PRAGMA busy_timeout = 10000",
    "PRAGMA foreign_keys = ON",
    "PRAGMA temp_store = MEMORY",
)
_WRITER_PRAGMAS = (
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",
    # 80 MB of log between checkpoints: a body that came and went in between never reaches the main file.
    "PRAGMA wal_autocheckpoint = 20000",
    "PRAGMA journal_size_limit = 134217728",
)
_SCHOLARS = (
    "PRAGMA busy_timeout = 10000",
    "PRAGMA temp_store = FILE",
    "PRAGMA cache_size = -16384",
    "PRAGMA query_only = ON",
)
_STEPS = 100_000  # of SQLite's machine, about a millisecond, between two looks at the time
_CHUNKS = (64, 16, 4, 1)  # a statement that is prepared holds some 100 octets per value
PROBE_S = 2.0  # how often an unhealthy store is tried again


class StoreError(Exception):
    """The store cannot be opened or used. The text says why and what to do."""


class TooLong(Exception):
    """A question took longer than whoever asked would wait."""


class Lane(Generic[Item]):
    """Intents of one kind, applied together once per commit.

    apply(connection, items) runs on the writer's thread inside the transaction. It may be run again with fewer
    items after a rollback, so it must change nothing but the database.
    """

    __slots__ = ("apply", "futures", "items", "patient", "writer")

    def __init__(self, writer: "Writer", apply: Callable[[sqlite3.Connection, Sequence[Item]], object], patient: bool):
        self.writer, self.apply, self.patient = writer, apply, patient
        self.items: list[Item] = []
        self.futures: list[asyncio.Future[None] | None] = []

    def put(self, item: Item) -> "asyncio.Future[None]":
        """The future is done when `item` is on disk; it raises sqlite3.Error when it cannot be."""
        future = self.writer.loop.create_future()
        self.items.append(item)
        self.futures.append(future)
        self.writer.stir(self.patient)
        return future

    def tell(self, item: Item) -> None:
        """Like put, for a fact that cannot be taken back: kept and tried again until the store takes it."""
        self.items.append(item)
        self.futures.append(None)
        self.writer.stir(self.patient)


class Writer:
    """The one connection that writes. `run()` must be running for anything to be committed.

    horizon: no row with an id up to here will be committed any more; those there are can be read. It holds if whoever
    takes an id hands its row to a lane or `write` in the same turn of the loop: when a transaction begins, every id
    given out so far is in it, or was in one before. A fact that must be tried again stops it until the store has it.
    """

    LINGER_S = 0.005  # how long patient intents wait for company

    def __init__(self, connection: aiosqlite.Connection, clock: Clock) -> None:
        self.loop = asyncio.get_running_loop()
        self._connection, self._clock = connection, clock
        self._lanes: list[Lane[Any]] = []
        self._single: list[tuple[Callable[[sqlite3.Connection], Any], asyncio.Future[Any]]] = []
        self._wake = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._stopping = False
        self.commits = self.intents = 0
        self.failure: str | None = None  # why the store is unhealthy, None when it is well
        self.busy_s = 0.0  # of all commits together
        self.on_commit: Callable[[], None] = _nothing
        self._newest: Callable[[], int] = _zero
        self.horizon = 0

    def lane(
        self, apply: Callable[[sqlite3.Connection, Sequence[Item]], object], *, patient: bool = False
    ) -> Lane[Item]:
        """Lanes are applied in the order they were made. patient: others need not be hurried for its sake."""
        made: Lane[Item] = Lane(self, apply, patient)
        self._lanes.append(made)
        return made

    def write(self, work: Callable[[sqlite3.Connection], T]) -> "asyncio.Future[T]":
        """Run work(connection) inside the next transaction; the future gives its result once that is committed."""
        future: asyncio.Future[T] = self.loop.create_future()
        self._single.append((work, future))
        self.stir(False)
        return future

    def stir(self, patient: bool) -> None:
        if not patient:
            self._wake.set()
        elif self._timer is None and not self._wake.is_set():
            self._timer = self.loop.call_later(self.LINGER_S, self._wake.set)

    def follow(self, newest: Callable[[], int]) -> None:
        """newest: the largest id given out so far. To be called before the first one is."""
        self._newest, self.horizon = newest, newest()

    @property
    def backlog(self) -> int:
        """Intents not yet taken by a transaction."""
        return len(self._single) + sum(len(lane.items) for lane in self._lanes)

    async def run(self) -> None:
        """Commit until stop(), and then what is left, if the store takes it."""
        while not (self._stopping and (not self.backlog or self.failure is not None)):
            await self._wake.wait()
            self._wake.clear()
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
            if self.backlog:
                await self._round()
            if self._stopping:
                self._wake.set()
        if self.backlog:
            log.error("not-written", intents=self.backlog, cause=self.failure)

    def stop(self) -> None:
        self._stopping = True
        self._wake.set()

    async def _round(self) -> None:
        newest = self._newest()
        lanes = []
        for lane in self._lanes:
            if lane.items:
                lanes.append((lane, lane.items, lane.futures))
                lane.items, lane.futures = [], []
        single, self._single = self._single, []
        started = self._clock.steady()
        try:
            # One hop to the connection's thread and one back, whatever the batch holds.
            results = await _on_thread(self._connection, _commit, lanes, single)
        except Exception as error:  # of SQLite, of a spool file, or of a value that no column takes
            if await self._apart(lanes, single, error):
                self.horizon = max(self.horizon, newest)
        else:
            self._well()
            self.horizon = max(self.horizon, newest)
            self.commits += 1
            for _, items, futures in lanes:
                self.intents += len(items)
                for future in futures:
                    if future is not None and not future.done():
                        future.set_result(None)
            for (_, future), (result, failure) in zip(single, results, strict=True):
                _resolve(future, result, failure)
            self.on_commit()
        self.busy_s += self._clock.steady() - started

    async def _apart(self, lanes: list[Any], single: list[Any], first: Exception) -> bool:
        """The batch failed as a whole: let each intent succeed or fail alone, in one transaction still. False: some
        must be tried again.
        """
        log.warning("batch-failed", cause=repr(first))
        try:
            failures, results = await _on_thread(self._connection, _commit_apart, lanes, single)
            self.commits += 1
        except Exception as error:
            failures = [[error] * len(items) for _, items, _ in lanes]
            results = [(None, error) for _ in single]
        owed = 0
        for (lane, items, futures), some in zip(lanes, failures, strict=True):
            owed += self._resolve_lane(lane, items, futures, some)
        for (_, future), (result, failure) in zip(single, results, strict=True):
            _resolve(future, result, failure)
        every = [failure for some in failures for failure in some] + [failure for _, failure in results]
        worked = any(failure is None for failure in every)
        if worked:
            self._well()
            self.on_commit()
        else:
            why = next((failure for failure in every if failure is not None and _is_of_store(failure)), None)
            if why is not None:
                self._unwell(str(why))
        return not owed

    def _resolve_lane(
        self, lane: Lane[Any], items: list[Any], futures: list[Any], failures: list[Exception | None]
    ) -> int:
        """How many must be tried again."""
        again = []
        for item, future, failure in zip(items, futures, failures, strict=True):
            if future is not None:
                _resolve(future, None, failure)
            elif failure is not None and _is_of_store(failure):
                again.append(item)
            elif failure is not None:  # it would fail for ever, and everything beside it with it
                log.error("intent-lost", intent=repr(item)[:500], cause=repr(failure))
            self.intents += failure is None
        if again:
            lane.items[:0] = again
            lane.futures[:0] = [None] * len(again)
            self.loop.call_later(PROBE_S, self._wake.set)
        return len(again)

    def _unwell(self, why: str) -> None:
        if self.failure is None:
            log.error("store-unhealthy", cause=why)
        self.failure = why

    def _well(self) -> None:
        if self.failure is not None:
            log.info("store-recovered")
            self.failure = None


def _nothing() -> None:
    """Nobody wants to know."""


def _zero() -> int:
    """Nobody gives ids out."""
    return 0


def _resolve(future: "asyncio.Future[Any]", result: Any, failure: Exception | None) -> None:
    if future.done():
        return
    if failure is not None:
        future.set_exception(failure)
    else:
        future.set_result(result)


def _commit(connection: sqlite3.Connection, lanes: list[Any], single: list[Any]) -> list[tuple[Any, Exception | None]]:
    """On the writer's thread: one transaction. A single that fails is rolled back to its savepoint, alone."""
    results: list[tuple[Any, Exception | None]] = []
    connection.execute("BEGIN IMMEDIATE")
    try:
        for lane, items, _ in lanes:
            lane.apply(connection, items)
        results += [_alone(connection, work) for work, _ in single]
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    return results


def _commit_apart(
    connection: sqlite3.Connection, lanes: list[Any], single: list[Any]
) -> tuple[list[list[Exception | None]], list[tuple[Any, Exception | None]]]:
    """Like _commit, with a savepoint for each intent: why each of them failed, and the results of the singles."""
    failures: list[list[Exception | None]] = []
    results: list[tuple[Any, Exception | None]] = []
    connection.execute("BEGIN IMMEDIATE")
    try:
        for lane, items, _ in lanes:
            applied = [_alone(connection, partial(_apply, lane, item)) for item in items]
            failures.append([failure for _, failure in applied])
        results += [_alone(connection, work) for work, _ in single]
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    return failures, results


def _apply(lane: Lane[Item], item: Item, connection: sqlite3.Connection) -> None:
    lane.apply(connection, [item])


def _alone(connection: sqlite3.Connection, work: Callable[[sqlite3.Connection], Any]) -> tuple[Any, Exception | None]:
    connection.execute("SAVEPOINT one")
    result: Any = None
    failure: Exception | None = None
    try:
        result = work(connection)
    except Exception as error:  # the caller gets it through its future
        connection.execute("ROLLBACK TO one")
        failure = error
    connection.execute("RELEASE one")
    return result, failure


def _is_of_store(error: Exception) -> bool:
    """It may pass, and no other value would fare better: a full disk, a fault of it, a lock."""
    return isinstance(error, OSError) or (isinstance(error, sqlite3.Error) and not isinstance(error, _OF_INTENT))


_OF_INTENT = (sqlite3.IntegrityError, sqlite3.DataError, sqlite3.ProgrammingError, sqlite3.InterfaceError)


def insert_rows(connection: sqlite3.Connection, into: str, columns: int, rows: Sequence[tuple[Any, ...]]) -> None:
    """INSERT many rows with few statements. into: a constant "INSERT INTO t (a, b) VALUES "."""
    at, count = 0, len(rows)
    for chunk in _CHUNKS:
        while count - at >= chunk and (chunk * columns <= 4096 or chunk == 1):
            values = [value for row in rows[at : at + chunk] for value in row]
            connection.execute(_statement(into, columns, chunk), values)
            at += chunk


_statements: dict[tuple[str, int], str] = {}


def _statement(into: str, columns: int, chunk: int) -> str:
    made = _statements.get((into, chunk))
    if made is None:
        row = "(" + ",".join("?" * columns) + ")"
        made = _statements[into, chunk] = into + ",".join([row] * chunk)
    return made


class Database:
    """The store's connections. Use as `async with open_database(...) as database`."""

    def __init__(self, path: Path, writer: Writer, readers: Sequence[aiosqlite.Connection]) -> None:
        self.path, self.writer, self._readers, self._turn = path, writer, readers, 0
        self._scholar: aiosqlite.Connection | None = None
        self._study = asyncio.Lock()

    async def read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run work(connection) on a reading connection's own thread: it sees the last commit."""
        self._turn = (self._turn + 1) % len(self._readers)
        reader = self._readers[self._turn]
        return await _on_thread(reader, work)

    async def study(self, work: Callable[[sqlite3.Connection], T], over: Callable[[], bool]) -> T:
        """The same for a question that may take seconds: one after another, on a connection of their own, where nobody
        else waits for the answer, and what is sorted goes to temporary files when it is much.

        over: asked now and then, on that connection's thread too; True ends the question. Raises TooLong.
        """
        async with self._study:
            if over():
                raise TooLong
            if self._scholar is None:
                self._scholar = await _connect(self.path)
                await _on_thread(self._scholar, _run_all, _SCHOLARS)
            return await _on_thread(self._scholar, _within, work, over)

    async def close_study(self) -> None:
        """Nobody may ask any more."""
        if self._scholar is not None:
            await self._scholar.close()


def _within(connection: sqlite3.Connection, work: Callable[[sqlite3.Connection], T], over: Callable[[], bool]) -> T:
    connection.set_progress_handler(over, _STEPS)
    try:
        return work(connection)
    except sqlite3.OperationalError:
        if over():
            raise TooLong from None
        raise
    finally:
        connection.set_progress_handler(None, 0)


@asynccontextmanager
async def open_database(folder: Path, clock: Clock, *, cache_octets: int, readers: int = 2) -> AsyncIterator[Database]:
    """Open `folder`/mtad.sqlite, making or migrating it. Raises StoreError with one clear sentence."""
    path = folder / "mtad.sqlite"
    opened: list[aiosqlite.Connection] = []
    database: Database | None = None
    try:
        try:
            await asyncio.to_thread(_try_to_open, folder, path)
            connection = await _connect(path)
            opened.append(connection)
            await _on_thread(connection, _prepare, cache_octets, path)
            for _ in range(readers):
                reader = await _connect(path)
                opened.append(reader)
                await _on_thread(reader, _run_all, (*_PRAGMAS, "PRAGMA query_only = ON", "PRAGMA cache_size = -1024"))
        except (OSError, sqlite3.Error) as error:
            raise StoreError(f"cannot open the store {path}: {error}") from error
        database = Database(path, Writer(opened[0], clock), opened[1:])
        yield database
    finally:
        if database is not None:
            await database.close_study()
        for connection in reversed(opened):
            await connection.close()


async def _on_thread(connection: aiosqlite.Connection, work: Callable[..., T], *arguments: Any) -> T:
    """Run work(sqlite3 connection, *arguments) on the connection's own thread: one hop there, one back.

    aiosqlite offers its statements one by one; `_execute`, which they are made of, takes any callable. It is a
    private name: the version is pinned and tests/storage/test_database.py uses this very path.
    """
    result: T = await connection._execute(work, connection._conn, *arguments)  # type: ignore[no-untyped-call]
    return result


async def _connect(path: Path) -> aiosqlite.Connection:
    return await aiosqlite.connect(path, isolation_level=None, cached_statements=512)


def _try_to_open(folder: Path, path: Path) -> None:
    """Fail here when it cannot be: a thread of aiosqlite that failed to open is not ended in time."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o750)
    sqlite3.connect(path).close()


def _run_all(connection: sqlite3.Connection, statements: Iterable[str]) -> None:
    for statement in statements:
        connection.execute(statement)


def _prepare(connection: sqlite3.Connection, cache_octets: int, path: Path) -> None:
    _run_all(connection, (*_PRAGMAS, *_WRITER_PRAGMAS, f"PRAGMA cache_size = -{cache_octets // 1024}"))
    path.chmod(0o640)
    migrate(connection)


def migrations() -> list[tuple[int, str]]:
    """(version, SQL) in order, from the files in storage/migrations."""
    found = []
    for entry in resources.files("mtad.storage").joinpath("migrations").iterdir():
        number = re.fullmatch(r"(\d{4})_\w+\.sql", entry.name)
        if number:
            found.append((int(number[1]), entry.read_text("utf-8")))
    return sorted(found)


def migrate(connection: sqlite3.Connection) -> None:
    """Bring the store to this version's schema, each step in a transaction of its own. Forward only."""
    steps = migrations()
    newest = steps[-1][0]
    [version] = connection.execute("PRAGMA user_version").fetchone()
    if version > newest:
        raise StoreError(
            f"the store was written by a newer mtad (schema {version}, this one knows {newest}): "
            "install that version or a newer one"
        )
    for number, sql in steps:
        if number > version:
            connection.executescript(f"BEGIN IMMEDIATE;\n{sql}\nPRAGMA user_version = {number};\nCOMMIT;")
            log.debug("store-migrated", schema=number)


def ease_lock_hand_over() -> None:
    """Let the writer's thread have the interpreter lock soon after a statement: 5 ms, the default, is ten commits."""
    sys.setswitchinterval(0.0005)
