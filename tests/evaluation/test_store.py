from __future__ import annotations

import sqlite3
import threading

import pytest

from speechquant.decoding.types import Transcript, Word
from speechquant.errors import StorageError
from speechquant.evaluation import EvaluationStore, StoredTranscript

FULL = Transcript("caf\u00e9 'x'", (1, 2), (3, 3, 0), capped=True, words=(Word("caf\u00e9", 0.1, 0.25),))


def stored(name: str, transcript: Transcript = FULL) -> StoredTranscript:
    return StoredTranscript(name, "f", 1.5, transcript)


def test_round_trip_after_reopening(tmp_path):
    path = tmp_path / "new" / "folder" / "e.sqlite"
    with EvaluationStore(path) as store:
        store.save("sig", [stored("a"), stored("b", Transcript(""))])
        store.put("table", "k", {"wer": 1.5, "layers": ["conv.1"], "none": None})
    with EvaluationStore(path) as store:
        assert store.transcripts("sig") == {("a", "f"): stored("a"), ("b", "f"): stored("b", Transcript(""))}
        assert store.transcripts("other") == {}
        assert store.get("table", "k") == {"wer": 1.5, "layers": ["conv.1"], "none": None}
        assert store.get("table", "other") is None
        store.put("table", "a", 1)
        store.put("table", "k", 2)
        assert store.get("table", "a") == 1
        assert store.get("table", "k") == 2


def test_values_without_json_form_are_refused(tmp_path):
    with EvaluationStore(tmp_path / "e.sqlite") as store, pytest.raises(TypeError):
        store.put("k", "k", object())


def test_readers_are_not_blocked_by_a_writer(tmp_path):
    path = tmp_path / "e.sqlite"
    with EvaluationStore(path) as writer, EvaluationStore(path) as reader:
        writer.put("k", "before", 1)
        with writer._transaction():
            writer._database.execute("INSERT INTO items VALUES ('k', 'during', '2')")
            assert (reader.get("k", "before"), reader.get("k", "during")) == (1, None)
        assert (reader.get("k", "before"), reader.get("k", "during")) == (1, 2)


def test_many_processes_may_create_the_file_at_once(tmp_path):
    path = tmp_path / "e.sqlite"
    errors: list[Exception] = []
    barrier = threading.Barrier(8)

    def work(number: int) -> None:
        barrier.wait()
        try:
            with EvaluationStore(path) as store:
                store.put("k", str(number), number)
        except Exception as error:  # noqa: BLE001
            errors.append(error)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    with EvaluationStore(path) as store:
        assert [store.get("k", str(number)) for number in range(8)] == list(range(8))


def test_failed_write_leaves_the_old_state(tmp_path):
    with EvaluationStore(tmp_path / "e.sqlite") as store:
        with pytest.raises(StorageError):
            store.save("sig", [stored("a"), StoredTranscript("b", None, 1.0, FULL)])
        assert store.transcripts("sig") == {}
        store.save("sig", [stored("a")])
        assert len(store.transcripts("sig")) == 1


def test_disk_full(tmp_path):
    with EvaluationStore(tmp_path / "e.sqlite") as store:
        store.put("k", "kept", 1)
        pages = store._pragma("page_count")
        store._database.execute(f"PRAGMA max_page_count = {pages}")
        with pytest.raises(StorageError, match="disk is full: free some space"):
            store.put("k", "big", "x" * 100_000)
        assert (store.get("k", "kept"), store.get("k", "big")) == (1, None)


def test_file_that_is_no_database(tmp_path):
    path = tmp_path / "e.sqlite"
    path.write_bytes(b"hello, this is not a database" * 100)
    with pytest.raises(StorageError, match=r"damaged or not an evaluation store.*move the file away"):
        EvaluationStore(path)
    assert path.read_bytes().startswith(b"hello")


def test_damaged_database(tmp_path):
    path = tmp_path / "e.sqlite"
    with EvaluationStore(path) as store:
        store.save("sig", [stored(str(i)) for i in range(2000)])
    content = bytearray(path.read_bytes())
    content[8192:] = b"\xff" * (len(content) - 8192)
    path.write_bytes(content)
    with EvaluationStore(path) as store, pytest.raises(StorageError, match="damaged"):
        store.transcripts("sig")


def test_foreign_database_is_left_alone(tmp_path):
    path = tmp_path / "e.sqlite"
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE theirs (x)")
    other.close()
    before = path.read_bytes()
    with pytest.raises(StorageError, match="another program"):
        EvaluationStore(path)
    assert path.read_bytes() == before


def test_newer_schema_is_refused(tmp_path):
    path = tmp_path / "e.sqlite"
    with EvaluationStore(path) as store:
        store._database.execute("PRAGMA user_version = 99")
    with pytest.raises(StorageError, match="newer version"):
        EvaluationStore(path)


def test_unusable_place(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot be written"):
        EvaluationStore(tmp_path / "file" / "e.sqlite")
    with pytest.raises(StorageError, match="cannot be written"):
        EvaluationStore(tmp_path)
