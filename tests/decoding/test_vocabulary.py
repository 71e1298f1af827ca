from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer, decoders, models
from tokenizers import pre_tokenizers as splitters
from transformers import AutoTokenizer, Wav2Vec2CTCTokenizer

from speechquant.decoding import BPEVocabulary, ctc_greedy, load_vocabulary
from speechquant.errors import ModelError

MODELS = Path(__file__).parents[2] / "packages/speechquant-demo/src/speechquant_demo/models"
LETTERS = ["<pad>", "<s>", "</s>", "<unk>", "|", *"ABCDEFGHIJKLMNOPQRSTUVWXYZ'"]


def ctc_folder(folder, letters=LETTERS, **settings):
    (folder / "vocab.json").write_text(json.dumps({letter: i for i, letter in enumerate(letters)}))
    declared = {"tokenizer_class": "Wav2Vec2CTCTokenizer", **settings}
    (folder / "tokenizer_config.json").write_text(json.dumps(declared))
    return folder


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"do_lower_case": True},
        {"clean_up_tokenization_spaces": True},
        {"word_delimiter_token": "X", "replace_word_delimiter_char": "_"},
        {"pad_token": "A"},
    ],
)
def test_ctc_equals_the_tokenizer_of_transformers(tmp_path, settings):
    folder = ctc_folder(tmp_path, **settings)
    # Not from_pretrained, which loses a word delimiter of one's own (transformers 5.23).
    oracle = Wav2Vec2CTCTokenizer(str(folder / "vocab.json"), **settings)
    ours = load_vocabulary(folder)
    assert ours.blank == oracle.pad_token_id
    assert ours.delimiter == oracle.word_delimiter_token_id
    rng = np.random.default_rng(0)
    for _ in range(100):
        frames = rng.integers(0, len(LETTERS), 40)
        tokens = ctc_greedy(frames, ours.blank).tokens
        expected = oracle.decode(list(tokens), skip_special_tokens=True, group_tokens=False)
        assert ours.decode(tokens) == expected
        # transformers drops blanks before it groups when it skips special tokens, so without them only.
        plain = [int(i) for i in frames if i == ours.blank or i not in ours.special]
        assert ours.decode(ctc_greedy(np.array(plain), ours.blank).tokens) == oracle.decode(plain)


def test_double_letters_survive(tmp_path):
    ours = load_vocabulary(ctc_folder(tmp_path))
    ids = {token: i for i, token in ours.tokens.items()}
    frames = np.array([ids[c] for c in ["B", "E", "E", "<pad>", "E", "|"]])
    assert ours.decode(ctc_greedy(frames, ours.blank).tokens) == "BEE"


def test_ctc_of_several_languages_needs_a_choice(tmp_path):
    nested = {"eng": {letter: i for i, letter in enumerate(LETTERS)}, "deu": {"<pad>": 0}}
    (tmp_path / "vocab.json").write_text(json.dumps(nested))
    with pytest.raises(ModelError, match="several languages"):
        load_vocabulary(tmp_path)
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"target_lang": "eng"}))
    assert load_vocabulary(tmp_path).decode([5, 6]) == "AB"


def test_bpe_equals_the_tokenizer_of_moonshine():
    folder = MODELS / "moonshine-tiny"
    oracle = AutoTokenizer.from_pretrained(folder)
    ours = load_vocabulary(folder)
    rng = np.random.default_rng(1)
    # Ids 3 to 258 are the byte tokens: runs of them are broken UTF-8 most of the time.
    batches = [*rng.integers(0, 32_768, (200, 30)).tolist(), *rng.integers(0, 259, (200, 30)).tolist()]
    texts = ["Mr. Crow flew back,  didn't he?", "naïve café — 10°C", "日本語 🎉 emoji", "  leading", ""]
    batches += [oracle(text)["input_ids"] for text in texts]
    assert [ours.decode(ids) for ids in batches] == oracle.batch_decode(batches, skip_special_tokens=True)
    assert [ours.decode(ids) for ids in batches[-5:-1]] == texts[:-1]


def test_ctc_equals_the_tokenizer_of_hubert():
    folder = MODELS / "hubert-mini-ctc"
    oracle = AutoTokenizer.from_pretrained(folder)
    ours = load_vocabulary(folder)
    frames = np.random.default_rng(2).choice([0, 0, *range(4, 32)], (50, 60))
    expected = oracle.batch_decode(frames.tolist())
    assert [ours.decode(ctc_greedy(row, ours.blank).tokens) for row in frames] == expected


@pytest.mark.parametrize(
    "decoder",
    [
        decoders.ByteLevel(),
        decoders.Metaspace(),
        decoders.Metaspace(prepend_scheme="never"),
        decoders.Sequence([decoders.ByteFallback(), decoders.Fuse(), decoders.Strip("▁", 2, 0)]),
        decoders.Sequence([decoders.Replace("a", "$0"), decoders.Strip("▁", 1, 0), decoders.Fuse()]),
        None,
    ],
    ids=["byte-level", "metaspace", "metaspace-never", "fallback", "replace", "none"],
)
def test_decoders_equal_the_tokenizers_library(tmp_path, decoder):
    pieces = ["<unk>", *sorted(splitters.ByteLevel.alphabet()), *(f"<0x{b:02X}>" for b in range(256))]
    pieces += ["▁", "▁▁▁", "▁a", "a▁", "▁a▁▁", "ba", "日本"]
    table = {piece: i for i, piece in enumerate(dict.fromkeys(pieces))}
    oracle = Tokenizer(models.BPE(table, [], unk_token="<unk>"))
    if decoder is not None:
        oracle.decoder = decoder
    oracle.add_special_tokens(["<unk>", "<end>"])
    oracle.save(str(tmp_path / "tokenizer.json"))
    ours = load_vocabulary(tmp_path)
    assert isinstance(ours, BPEVocabulary)
    rng = np.random.default_rng(3)
    for ids in [
        *rng.integers(0, len(table) + 3, (200, 12)).tolist(),
        *[[len(table) - k] for k in range(1, 8)],
    ]:
        assert ours.decode(ids) == oracle.decode(ids, skip_special_tokens=True)


def test_no_vocabulary(tmp_path):
    with pytest.raises(ModelError, match="no vocabulary"):
        load_vocabulary(tmp_path)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("vocab.json", "{", "not readable JSON"),
        ("vocab.json", "[]", "JSON object"),
        ("vocab.json", "{}", "no vocabulary"),
        ("vocab.json", '{"A": 0}', "blank"),
        ("tokenizer.json", '{"model": {}}', "no vocabulary"),
        (
            "tokenizer.json",
            '{"model": {"vocab": {"a": 0}}, "decoder": {"type": "CTC"}}',
            "'CTC' is not supported",
        ),
    ],
)
def test_unusable_files_are_named(tmp_path, name, content, message):
    (tmp_path / name).write_text(content)
    with pytest.raises(ModelError, match=message) as caught:
        load_vocabulary(tmp_path)
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("tokenizer_config.json", {"added_tokens_decoder": [1, 2]}),
        ("tokenizer_config.json", {"added_tokens_decoder": {"abc": {"content": "x"}}}),
        ("tokenizer_config.json", {"added_tokens_decoder": {"40": {"text": "x"}}}),
        ("tokenizer_config.json", {"added_tokens_decoder": {"40": 7}}),
        ("tokenizer_config.json", {"pad_token": {"x": 1}}),
        ("tokenizer_config.json", {"word_delimiter_token": ["|"]}),
        ("special_tokens_map.json", {"unk_token": {"content": None}}),
        ("added_tokens.json", {"<x>": None}),
        ("added_tokens.json", {"<x>": 1e300}),
    ],
)
def test_damaged_settings_of_a_ctc_tokenizer_are_named(tmp_path, name, content):
    ctc_folder(tmp_path)
    (tmp_path / name).write_text(json.dumps(content))
    with pytest.raises(ModelError, match=r"fetch the model again") as caught:
        load_vocabulary(tmp_path)
    assert str(caught.value).startswith(f"{tmp_path / name}: ")
    assert "\n" not in str(caught.value)


def test_a_language_that_is_no_name(tmp_path):
    (tmp_path / "vocab.json").write_text(json.dumps({"eng": {"<pad>": 0}}))
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"target_lang": ["eng"]}))
    with pytest.raises(ModelError, match="several languages"):
        load_vocabulary(tmp_path)


def test_tokens_that_are_written_in_every_allowed_way(tmp_path):
    folder = ctc_folder(tmp_path, pad_token={"content": "<pad>"}, bos_token=None)
    entry = {"content": "<x>", "special": True}
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    settings["added_tokens_decoder"] = {"40": entry, "41": "<y>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    (folder / "added_tokens.json").write_text(json.dumps({"<z>": 42}))
    ours = load_vocabulary(folder)
    assert (ours.blank, [ours.tokens[i] for i in (40, 41, 42)]) == (0, ["<x>", "<y>", "<z>"])
    assert 40 in ours.special
    assert not {1, 41, 42} & ours.special


@pytest.mark.parametrize(
    "change",
    [
        {"added_tokens": [1, 2]},
        {"added_tokens": [{"id": None, "content": "x"}]},
        {"added_tokens": [{"content": "x"}]},
        {"model": {"vocab": {"a": None}}},
        {"decoder": 7},
        {"decoder": {"type": "Sequence"}},
        {"decoder": {"type": "Replace", "pattern": {"Regex": "("}, "content": ""}},
        {"decoder": {"type": "Replace", "pattern": 7, "content": ""}},
        {"decoder": {"type": "Strip", "content": " ", "start": "x", "stop": 0}},
    ],
)
def test_a_damaged_tokenizer_file_is_named(tmp_path, change):
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps({"model": {"vocab": {"a": 0}}, **change}))
    with pytest.raises(ModelError, match=r"is damaged .*fetch the model again") as caught:
        load_vocabulary(tmp_path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)
