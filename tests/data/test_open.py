from __future__ import annotations

import json
import re

import pytest

from speechquant.data import open_corpus, registered_readers
from speechquant.errors import DataError


def write(path, text, encoding="utf-8"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode(encoding))
    return path


def lines(*rows):
    return "".join(json.dumps(row) + "\n" for row in rows)


def facts(corpus):
    return [(item.id, item.audio.name, item.text, item.speaker) for item in corpus]


def refused(spec, match, **options):
    with pytest.raises(DataError, match=match) as caught:
        open_corpus(spec, **options)
    assert "\n" not in str(caught.value)


def test_librispeech_tree(tone, tmp_path):
    for name in ("84-121-0000", "84-121-0001"):
        tone(f"dev-clean/84/121/{name}.flac")
    tone("dev-clean/9/5/9-5-0000.opus", format="OGG", subtype="OPUS")
    root = tmp_path / "dev-clean"
    write(root / "84/121/84-121.trans.txt", "84-121-0000 GO\u2028ON\n84-121-0001 DO YOU SEE\n")
    write(root / "9/5/9-5.trans.txt", "9-5-0000 YES\r\n\r\n")
    corpus = open_corpus(root)
    assert corpus.name == "dev-clean"
    assert facts(corpus) == [
        ("84-121-0000", "84-121-0000.flac", "GO\u2028ON", "84"),
        ("84-121-0001", "84-121-0001.flac", "DO YOU SEE", "84"),
        ("9-5-0000", "9-5-0000.opus", "YES", "9"),
    ]
    assert corpus.words == 6


@pytest.mark.parametrize(
    "audio", ["path", "audio", "audio_path", "file", "wav", "audio_filepath", "file_name", "Path"]
)
@pytest.mark.parametrize("text", ["text", "transcript", "transcription", "sentence"])
def test_column_names(tone, tmp_path, audio, text):
    tone("wavs/a.wav")
    write(tmp_path / "m.jsonl", lines({audio: "wavs/a.wav", text: " Hello there ", "speaker_id": 7}))
    write(tmp_path / "m.csv", f'utt_id,{audio},{text},duration\nu1,wavs/a.wav,"Hello, there",1.5\n')
    write(
        tmp_path / "m.tsv",
        f'{audio}\t{text}\tspeaker\r\nwavs/a.wav\tHe said "no\r\ns1\r\n'.replace("\r\ns1", "\ts1"),
    )
    assert facts(open_corpus(tmp_path / "m.jsonl")) == [("a", "a.wav", "Hello there", "7")]
    assert facts(open_corpus(tmp_path / "m.csv")) == [("u1", "a.wav", "Hello, there", None)]
    assert open_corpus(tmp_path / "m.csv").seconds == 1.5
    assert facts(open_corpus(tmp_path / "m.tsv")) == [("a", "a.wav", 'He said "no', "s1")]


def test_paths_are_relative_to_the_manifest_or_absolute(tone, tmp_path, monkeypatch):
    one, two = tone("x/one.wav"), tone("two.wav")
    write(tmp_path / "m/list.jsonl", lines({"path": "../x/one.wav"}, {"path": str(two)}))
    monkeypatch.chdir(tmp_path)
    found = [item.audio.resolve() for item in open_corpus("m/list.jsonl")]
    assert found == [one.resolve(), two.resolve()]


def test_common_voice_leaves_out_its_clips_folder(tone, tmp_path):
    tone("clips/c.mp3")
    table = "client_id\tpath\tsentence\taccents\nabc\tc.mp3\tHi.\t\n"
    assert facts(open_corpus(write(tmp_path / "test.tsv", table))) == [("c", "c.mp3", "Hi.", "abc")]
    assert open_corpus(tmp_path / "test.tsv")[0].audio.is_file()


def test_repeated_file_names_take_their_folders_into_the_id(tone, tmp_path):
    for name in ("a/1.wav", "b/1.wav"):
        tone(name)
    write(tmp_path / "m.csv", "path\na/1.wav\nb/1.wav\n")
    assert [item.id for item in open_corpus(tmp_path / "m.csv")] == ["a/1", "b/1"]
    assert [item.id for item in open_corpus(tmp_path)] == ["a/1", "b/1"]


@pytest.mark.parametrize(
    ("suffix", "content"), [(".ltr", "G O | O N |\nY E S |\n"), (".wrd", "GO ON\nYES\n\n")]
)
def test_fairseq(tone, tmp_path, suffix, content):
    tone("audio/s/a.flac")
    tone("audio/s/b.flac")
    write(tmp_path / "m/dev.tsv", f"{tmp_path}/audio\ns/a.flac\t16000\ns/b.flac\t16000\n")
    write(tmp_path / f"m/dev{suffix}", content)
    corpus = open_corpus(tmp_path / "m/dev.tsv")
    assert facts(corpus) == [("a", "a.flac", "GO ON", None), ("b", "b.flac", "YES", None)]
    assert corpus[0].audio.is_file()


def test_fairseq_without_text_and_with_too_little(tone, tmp_path):
    tone("a.flac")
    write(tmp_path / "dev.tsv", ".\na.flac\t16000\n")
    assert open_corpus(tmp_path / "dev.tsv")[0].text is None
    write(tmp_path / "dev.wrd", "ONE\nTWO\n")
    refused(tmp_path / "dev.tsv", "2 transcripts for the 1 audio files of dev.tsv")
    write(tmp_path / "dev.tsv", ".\na.flac\t16000\nb.flac 5\n")
    refused(tmp_path / "dev.tsv", "line 3: expected")


def test_folder_with_and_without_text(tone, tmp_path):
    for name in ("f/b.wav", "f/a.flac", "f/.hidden.wav", "g/only.mp3"):
        tone(name)
    write(tmp_path / "f/a.txt", "\ufeffgood\nmorning\n")
    assert facts(open_corpus(tmp_path / "f")) == [
        ("a", "a.flac", "good morning", None),
        ("b", "b.wav", None, None),
    ]
    assert facts(open_corpus(tmp_path / "g")) == [("only", "only.mp3", None, None)]
    refused(tmp_path / "g", "no transcripts; .* named text, [a-z, ]*$", require_text=True)
    refused(tmp_path / "g", "no transcripts.*, or go home$", require_text=True, otherwise="go home")


def test_one_file(tone, tmp_path):
    path = tone("call.WAV")
    assert facts(open_corpus(path)) == [("call", "call.WAV", None, None)]
    write(tmp_path / "call.txt", "hi")
    assert open_corpus(path, name="mine").name == "mine"
    assert open_corpus(path)[0].text == "hi"


def test_the_demo_speech(speech):
    corpus = open_corpus(speech / "test.jsonl", require_text=True)
    assert len(corpus) == 46
    assert {item.speaker for item in corpus} == {"32", "7312"}
    assert corpus.seconds == pytest.approx(600, rel=0.01)


def test_nothing_there(tmp_path):
    refused(tmp_path / "no.csv", "not found")
    refused(tmp_path / "no", "not found")
    refused(tmp_path, "folder without audio is not a data set; accepted: hf:")
    refused(write(tmp_path / "a.docx", "x"), r"ending in '\.docx'")
    refused(tmp_path / ("n" * 300), "cannot be read|not found")


@pytest.mark.parametrize(
    ("name", "content"),
    [("m.jsonl", ""), ("m.csv", ""), ("m.csv", "path,text\n"), ("m.tsv", ""), ("m.jsonl", "\n \n")],
)
def test_empty_manifest(tmp_path, name, content):
    refused(write(tmp_path / name, content), "no utterances")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "m.csv",
            "sound,words\na.wav,hi\n",
            "line 1: no audio column; found: 'sound', 'words'; accepted for audio: audio,",
        ),
        ("m.jsonl", '{"sound": "a.wav"}\n', "line 1: no audio column; found: 'sound'"),
        ("m.jsonl", '{"path": "a.wav"}\n\n{"path": \n', "line 3: malformed JSON"),
        ("m.jsonl", '["a.wav"]\n', "line 1: expected a JSON object"),
        ("m.jsonl", '{"path": 5}\n', "line 1: column 'path' must hold a path, found 5"),
        ("m.jsonl", '{"path": " "}\n', "must hold a path"),
        ("m.jsonl", '{"path": "a.wav", "text": ["x"]}\n', "line 1: column 'text' must hold text"),
        ("m.jsonl", '{"path": "a.wav", "seconds": NaN}\n', "must hold seconds"),
        ("m.csv", "path,seconds\na.wav,long\n", "line 2: column 'seconds' must hold seconds, found 'long'"),
        ("m.csv", "path,text, Text\na.wav,b,c\n", "line 1: two columns are named 'text'; rename or remove"),
        ("m.jsonl", '{"path": "a.wav", "text": "b", "Text": "c"}\n', "line 1: two columns are named 'text'"),
        ("m.csv", "path,text\na.wav,b,c\n", "line 2: 3 columns, the header has 2"),
        ("m.csv", 'path,text\na.wav,"never closed\n', "malformed table"),
        ("m.jsonl", '{"path": "a.wav", "offset": 3.5}\n', "part of a longer file"),
        ("m.jsonl", "[" * 100_000, "malformed JSON"),
    ],
)
def test_malformed_rows(tone, tmp_path, name, content, message):
    tone("a.wav")
    refused(write(tmp_path / name, content), re.escape(message) if "[" in message else message)


def test_an_offset_of_zero_is_the_whole_file(tone, tmp_path):
    tone("a.wav")
    path = write(
        tmp_path / "m.jsonl", lines({"audio_filepath": "a.wav", "text": "x", "duration": 1, "offset": 0})
    )
    assert open_corpus(path).seconds == 1.0


def test_columns_without_a_name_do_not_matter(tone, tmp_path):
    tone("a.wav")
    path = write(tmp_path / "m.csv", "path,text,,\na.wav,x,,\n")
    assert facts(open_corpus(path)) == [("a", "a.wav", "x", None)]


def test_duplicate_ids_name_both_lines(tone, tmp_path):
    tone("a.wav")
    tone("b.wav")
    path = write(tmp_path / "m.csv", "id,path\nu,a.wav\nv,a.wav\nu,b.wav\n")
    refused(path, r"duplicate utterance id 'u': .*m\.csv, line 2 and .*m\.csv, line 4")
    path = write(tmp_path / "n.csv", "path\na.wav\na.wav\n")
    refused(path, r"duplicate utterance id 'a': .*line 2 and .*line 3")


@pytest.mark.parametrize("name", ["m.csv", "m.jsonl", "t/1/1-2.trans.txt", "f/a.txt"])
def test_wrong_encoding_names_file_line_and_byte(tone, tmp_path, name):
    tone("f/a.wav")
    path = tmp_path / name
    write(path, "first line\ncaf\u00e9\n", "latin-1")
    spec = {"t/1/1-2.trans.txt": tmp_path / "t", "f/a.txt": tmp_path / "f"}.get(name, path)
    refused(spec, rf"{re.escape(str(path))}, line 2: wrong text encoding .*byte 0xe9 at position 14.*UTF-8")


def test_utf16_is_recognised_and_a_byte_order_mark_accepted(tone, tmp_path):
    tone("a.wav")
    refused(write(tmp_path / "m.csv", "path,text\na.wav,x\n", "utf-16"), "UTF-16")
    assert open_corpus(write(tmp_path / "m.csv", "path,text\na.wav,x\n", "utf-8-sig"))[0].text == "x"
    bom = write(tmp_path / "m.jsonl", lines({"path": "a.wav"}), "utf-8-sig")
    assert len(open_corpus(bom)) == 1


def test_all_audio_missing_is_refused_and_some_is_not(tone, tmp_path):
    path = write(tmp_path / "m.csv", "path\na.wav\nb.wav\n")
    refused(path, r"none of its 2 audio files exist; the first is .*a\.wav \(.*line 2\)")
    tone("b.wav")
    assert len(open_corpus(path)) == 2


def test_all_transcripts_empty_is_refused_and_some_is_not(tone, tmp_path):
    tone("a.wav")
    tone("b.wav")
    refused(
        write(tmp_path / "m.csv", "path,text\na.wav,\nb.wav, \n"),
        "all transcripts are empty",
        require_text=True,
    )
    assert len(open_corpus(tmp_path / "m.csv")) == 2
    assert len(open_corpus(write(tmp_path / "m.csv", "path,text\na.wav,\nb.wav,x\n"))) == 2


def test_every_reader_says_what_it_accepts():
    kinds = [reader.kind for reader in registered_readers()]
    assert len(kinds) == len(set(kinds)) == 8
