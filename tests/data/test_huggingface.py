from __future__ import annotations

import sys
from types import SimpleNamespace

import numpy as np
import pytest

from speechquant.audio import load_audio
from speechquant.data import AudioSource, iter_loaded, open_corpus
from speechquant.data.readers.huggingface import table_entries
from speechquant.errors import DataError, MissingExtraError


class Audio:
    def __init__(self, decode=True):
        self.decode = decode


class FakeTable:
    """A `datasets.Dataset` in small: rows are dicts, audio cells are bytes only after decode=False."""

    def __init__(self, rows, features, read=None):
        self.rows, self.features, self.read = rows, features, read if read is not None else []
        self.column_names = list(features)

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, index):
        row = {name: self.rows[index][name] for name in self.column_names}
        for name in self.column_names:
            if isinstance(self.features[name], Audio):
                assert not self.features[name].decode, "torchcodec would be needed"
                self.read.append(index)
        return row

    def select_columns(self, names):
        return FakeTable(self.rows, {name: self.features[name] for name in names}, self.read)

    def cast_column(self, name, feature):
        return FakeTable(self.rows, {**self.features, name: feature}, self.read)


def table(tone, **more):
    paths = [tone(f"{n}.flac", hertz=200 + n, rate=48_000) for n in range(3)]
    rows = [
        {
            "audio": {"bytes": path.read_bytes(), "path": path.name},
            "text": f"WORD {n}",
            "speaker_id": 80 + n,
            "id": f"u{n}",
        }
        for n, path in enumerate(paths)
    ]
    return FakeTable(rows, {"audio": Audio(), "text": "str", "speaker_id": "int", "id": "str"}), paths


@pytest.fixture
def hub(tone, monkeypatch):
    content, paths = table(tone)
    calls = []

    def load_dataset(name, config, *, split):
        calls.append((name, config, split))
        if name == "gone":
            raise FileNotFoundError("Dataset 'gone' doesn't exist on the Hub\nTraceback")
        return content

    module = SimpleNamespace(load_dataset=load_dataset, load_from_disk=lambda path: content, Audio=Audio)
    monkeypatch.setitem(sys.modules, "datasets", module)
    return SimpleNamespace(calls=calls, paths=paths, table=content)


@pytest.mark.parametrize(
    ("spec", "call"),
    [
        ("hf:librispeech:test", ("librispeech", None, "test")),
        ("hf:openslr/librispeech_asr:clean:test", ("openslr/librispeech_asr", "clean", "test")),
        ("hf:a/b:test[:100]", ("a/b", None, "test[:100]")),
        ("hf:a/b:en:test[10%:20%]", ("a/b", "en", "test[10%:20%]")),
    ],
)
def test_specs(hub, spec, call):
    corpus = open_corpus(spec)
    assert hub.calls == [call]
    assert corpus.name == spec
    assert [(item.id, item.text, item.speaker) for item in corpus] == [
        ("u0", "WORD 0", "80"),
        ("u1", "WORD 1", "81"),
        ("u2", "WORD 2", "82"),
    ]


@pytest.mark.parametrize("spec", ["hf:", "hf:name", "hf:a:b:c:d"])
def test_malformed_specs(hub, spec):
    with pytest.raises(DataError, match="expected hf:NAME"):
        open_corpus(spec)


def test_audio_is_touched_only_when_asked_for(hub):
    corpus = open_corpus("hf:a:test")
    assert hub.table.read == []
    loaded = list(iter_loaded(corpus, strict=True, on_skip=print))
    assert isinstance(corpus[0].audio, AudioSource)
    for (_, samples), path in zip(loaded, hub.paths, strict=True):
        np.testing.assert_array_equal(samples, load_audio(path))
    assert sorted(set(hub.table.read)) == [0, 1, 2]


def test_fingerprints_follow_the_bytes(hub):
    marks = {item.audio.fingerprint() for item in open_corpus("hf:a:test")}
    assert len(marks) == 3
    assert marks == {item.audio.fingerprint() for item in open_corpus("hf:a:validation")}


def test_paths_instead_of_bytes(tone):
    path = tone("a.wav")
    for cell in (str(path), {"path": str(path), "bytes": None}):
        (entry,) = table_entries(FakeTable([{"file": cell}], {"file": "str"}), "rows")
        np.testing.assert_array_equal(entry.utterance.audio.samples(), load_audio(path))
        assert entry.utterance.text is None


def test_a_row_without_audio_is_skipped():
    rows = FakeTable([{"audio": {"path": None, "bytes": None}}], {"audio": "struct"})
    skipped = []
    assert (
        list(
            iter_loaded(
                [e.utterance for e in table_entries(rows, "rows")], strict=False, on_skip=skipped.append
            )
        )
        == []
    )
    assert "row 0" in skipped[0].reason


def test_missing_columns_are_listed(hub):
    hub.table.features.pop("audio")
    hub.table.column_names.remove("audio")
    with pytest.raises(DataError, match="no audio column; found: 'text', 'speaker_id', 'id'"):
        open_corpus("hf:a:test")


def test_failures_are_one_line(hub):
    with pytest.raises(
        DataError, match=r"^hf:gone:test: cannot be loaded: Dataset 'gone' doesn't exist on the Hub$"
    ):
        open_corpus("hf:gone:test")


def test_the_cause_of_a_failure_is_named(hub, monkeypatch):
    class GenerationError(Exception):
        pass

    def load_dataset(*_, **__):
        raise GenerationError("An error occurred while generating the dataset") from ImportError(
            "no torchcodec"
        )

    monkeypatch.setattr(sys.modules["datasets"], "load_dataset", load_dataset)
    with pytest.raises(DataError, match=r"cannot be loaded: no torchcodec$"):
        open_corpus("hf:a:test")


def test_saved_to_disk(hub, tmp_path):
    (tmp_path / "s").mkdir()
    for name in ("state.json", "dataset_info.json"):
        (tmp_path / "s" / name).write_text("{}")
    assert len(open_corpus(tmp_path / "s")) == 3
    (tmp_path / "dataset_dict.json").write_text("{}")
    with pytest.raises(DataError, match="several splits; name one of its folders: s"):
        open_corpus(tmp_path)


def test_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'speechquant\[datasets\]'"):
        open_corpus("hf:a:test")
