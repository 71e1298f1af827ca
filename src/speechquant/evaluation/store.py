"""Everything that was ever recognised or decided, in one SQLite file that survives a kill."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from speechquant.decoding.types import Transcript, Word
from speechquant.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from types import TracebackType

__all__ = ["EvaluationStore", "StoredTranscript"]

# Marks the file as ours ("spqt" in ASCII), so that a foreign database is never written to.
APPLICATION_ID = 0x73707174
SCHEMA_VERSION = 1
BUSY_SECONDS = 60.0
_SCHEMA = """
CREATE TABLE transcripts (
    signature TEXT NOT NULL, utterance TEXT NOT NULL, fingerprint TEXT NOT NULL,
    seconds REAL NOT NULL, transcript TEXT NOT NULL,
    PRIMARY KEY (signature, utterance, fingerprint)
) WITHOUT ROWID;
CREATE TABLE items (
    kind TEXT NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL,
    PRIMARY KEY (kind, key)
) WITHOUT ROWID;
"""


@dataclass(frozen=True, slots=True)
class StoredTranscript:
    """What a recogniser said to one utterance; `seconds` is the length of its audio."""

    utterance: str
    fingerprint: str
    seconds: float
    transcript: Transcript


class EvaluationStore:
    """Transcripts by recogniser signature, and JSON values by kind and key.

    Writes are committed at once (write-ahead log): a killed process loses nothing that `save` or `put`
    returned from, and other processes may read meanwhile. Use it as a context manager, or call `close`.

    Raises:
        StorageError: the file cannot be opened or written, is damaged, belongs to another program, or was
            written by a newer version.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        with self._guard():
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._database = sqlite3.connect(self.path, timeout=BUSY_SECONDS, isolation_level=None)
            try:
                self._prepare()
            except BaseException:
                self._database.close()
                raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; calling it again does nothing."""
        self._database.close()

    def transcripts(self, signature: str) -> dict[tuple[str, str], StoredTranscript]:
        """All stored transcripts of one recogniser, by (utterance id, audio fingerprint)."""
        query = "SELECT utterance, fingerprint, seconds, transcript FROM transcripts WHERE signature = ?"
        with self._guard():
            rows = self._database.execute(query, (signature,)).fetchall()
            return {
                (utterance, fingerprint): StoredTranscript(utterance, fingerprint, seconds, _decode(text))
                for utterance, fingerprint, seconds, text in rows
            }

    def save(self, signature: str, transcripts: Iterable[StoredTranscript]) -> None:
        """Store transcripts, all or none; one that is there already is replaced."""
        rows = [
            (signature, t.utterance, t.fingerprint, t.seconds, _encode(t.transcript)) for t in transcripts
        ]
        with self._guard(), self._transaction():
            self._database.executemany("INSERT OR REPLACE INTO transcripts VALUES (?, ?, ?, ?, ?)", rows)

    def get(self, kind: str, key: str) -> Any:
        """The value put under (kind, key), or None."""
        with self._guard():
            query = "SELECT value FROM items WHERE kind = ? AND key = ?"
            row = self._database.execute(query, (kind, key)).fetchone()
            return None if row is None else json.loads(row[0])

    def put(self, kind: str, key: str, value: Any) -> None:
        """Store a JSON value, replacing what was there.

        Raises:
            TypeError: the value has no JSON form.
        """
        text = json.dumps(value)
        with self._guard(), self._transaction():
            self._database.execute("INSERT OR REPLACE INTO items VALUES (?, ?, ?)", (kind, key, text))

    def _prepare(self) -> None:
        if not self._is_ours():
            self._database.execute("PRAGMA journal_mode = WAL")
            with self._transaction():
                # Another process may have created the tables since the first look.
                if not self._is_ours():
                    for statement in _SCHEMA.split(";"):
                        self._database.execute(statement)
                    self._database.execute(f"PRAGMA application_id = {APPLICATION_ID}")
                    self._database.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        version = self._pragma("user_version")
        if version > SCHEMA_VERSION:
            raise StorageError(
                f"{self.path}: written by a newer version (schema {version}, this one knows up to "
                f"{SCHEMA_VERSION}): update speechquant or choose another file"
            )
        # Safe against a killed process; only a power cut may cost the last commits, never the file.
        self._database.execute("PRAGMA synchronous = NORMAL")

    def _is_ours(self) -> bool:
        """Whether the tables exist; False for an empty database.

        Raises:
            StorageError: the file is some other program's database.
        """
        # Tables first: a process that creates the file meanwhile commits them together with the mark.
        if not self._database.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
            return False
        if self._pragma("application_id") != APPLICATION_ID:
            raise StorageError(f"{self.path}: a database of another program: choose another file")
        return True

    def _pragma(self, name: str) -> int:
        return int(self._database.execute(f"PRAGMA {name}").fetchone()[0])

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with closing(self._database.cursor()) as cursor:
            cursor.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                if self._database.in_transaction:
                    cursor.execute("ROLLBACK")
                raise
            cursor.execute("COMMIT")

    @contextmanager
    def _guard(self) -> Iterator[None]:
        try:
            yield
        except StorageError:
            raise
        except (sqlite3.Error, json.JSONDecodeError, OSError) as error:
            raise StorageError(f"{self.path}: {_advice(error)}") from error


def _advice(error: Exception) -> str:
    """What is wrong and what to do, in one line."""
    text = str(error)
    if "full" in text or "No space left" in text:
        return "the disk is full: free some space and start again, finished work is kept"
    if "readonly" in text or "unable to open" in text or isinstance(error, OSError):
        return f"cannot be written ({text}): check the folder and its permissions"
    if "I/O error" in text:
        return f"cannot be written ({text}): check the disk, its free space and limits on file sizes"
    if "locked" in text or "busy" in text:
        return "in use by another process: wait for it or choose another file"
    if isinstance(error, sqlite3.ProgrammingError):
        return text
    return f"damaged or not an evaluation store ({text}): move the file away and start again"


def _encode(transcript: Transcript) -> str:
    return json.dumps(asdict(transcript))


def _decode(text: str) -> Transcript:
    values = json.loads(text)
    return Transcript(
        text=values["text"],
        tokens=tuple(values["tokens"]),
        frames=tuple(values["frames"]),
        capped=values["capped"],
        words=tuple(Word(**word) for word in values["words"]),
    )
