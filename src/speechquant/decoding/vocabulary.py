"""CTC vocabularies, and the choice of a vocabulary by the files of a model folder."""

from __future__ import annotations

import re
from dataclasses import dataclass
from textwrap import shorten
from typing import TYPE_CHECKING, Any

from speechquant.decoding.bpe import BPEVocabulary
from speechquant.decoding.json_file import read_json
from speechquant.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

__all__ = ["CTCVocabulary", "load_vocabulary"]

_DEFAULTS = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"}
_NUMBER = re.compile(r"[0-9]{1,9}")
_TIDY = (
    (" .", "."),
    (" ?", "?"),
    (" !", "!"),
    (" ,", ","),
    (" ' ", "'"),
    (" n't", "n't"),
    (" 'm", "'m"),
    (" 's", "'s"),
    (" 've", "'ve"),
    (" 're", "'re"),
)


@dataclass(frozen=True, slots=True, eq=False)
class CTCVocabulary:
    """Ids to text by the rules of transformers' `Wav2Vec2CTCTokenizer`.

    `decode` expects collapsed tokens (`ctc_greedy`), so equal neighbours are two letters. `blank` is the id
    of the padding token, `delimiter` that of the token between words (None where there is none), `space` what
    is written for it. `special` ids are left out. `tidy` removes the spaces before punctuation.
    """

    tokens: Mapping[int, str]
    special: frozenset[int]
    blank: int
    delimiter: int | None
    space: str = " "
    lower: bool = False
    tidy: bool = False

    def decode(self, ids: Sequence[int]) -> str:
        """The text of collapsed `ids`."""
        kept = (i for i in ids if i in self.tokens and i not in self.special)
        text = "".join(self.space if i == self.delimiter else self.tokens[i] for i in kept).strip()
        if self.lower:
            text = text.lower()
        if self.tidy:
            for spaced, joined in _TIDY:
                text = text.replace(spaced, joined)
        return text

    @classmethod
    def from_folder(cls, folder: Path) -> CTCVocabulary:
        """Read `vocab.json` and, where they exist, the tokenizer's settings and added tokens.

        Raises:
            ModelError: no vocabulary, an unreadable one, damaged settings or added tokens, no padding token,
                which CTC uses as blank, or a vocabulary of several languages without a chosen one.
        """
        config, path = folder / "tokenizer_config.json", folder / "vocab.json"
        files = {name: _read(name) for name in (folder / "special_tokens_map.json", config)}
        named = {key: _token(value, name) for name, read in files.items() for key, value in _tokens(read)}
        settings = files[config]
        other, special = _decoder(settings.get("added_tokens_decoder"), config)
        table = _language(_read(path), settings.get("target_lang"), path)
        added = _added(folder / "added_tokens.json") | other
        tokens = {i: token for token, i in added.items()} | {i: token for token, i in table.items()}
        ids: dict[str | None, int] = {token: i for i, token in tokens.items()}
        names = {named.get(key, default) for key, default in _DEFAULTS.items()} | special
        delimiter = named.get("word_delimiter_token", "|")
        blank = ids.get(named.get("pad_token", _DEFAULTS["pad_token"]))
        if blank is None:
            raise ModelError(f"{path}: the padding token, which CTC uses as blank, is not in the vocabulary")
        return cls(
            tokens=tokens,
            special=frozenset(i for token, i in ids.items() if token in names and token != delimiter),
            blank=blank,
            delimiter=ids.get(delimiter),
            space=str(settings.get("replace_word_delimiter_char", " ")),
            lower=bool(settings.get("do_lower_case", False)),
            tidy=bool(settings.get("clean_up_tokenization_spaces", False)),
        )


def load_vocabulary(folder: Path) -> CTCVocabulary | BPEVocabulary:
    """The vocabulary of a model folder, chosen by its files.

    A `tokenizer.json` is read unless the tokenizer is declared to be a CTC one; otherwise `vocab.json`.

    Raises:
        ModelError: the folder has no vocabulary, or one that cannot be read.
    """
    declared = str(_read(folder / "tokenizer_config.json").get("tokenizer_class", ""))
    path = folder / "tokenizer.json"
    if path.is_file() and not ("CTC" in declared and (folder / "vocab.json").is_file()):
        return BPEVocabulary.from_spec(_read(path), path)
    if (folder / "vocab.json").is_file():
        return CTCVocabulary.from_folder(folder)
    raise ModelError(f"no vocabulary in {folder}; put the model's vocab.json or tokenizer.json there")


def _read(path: Path) -> dict[str, Any]:
    """The JSON object in a file; empty where there is no such file."""
    return read_json(path) if path.is_file() else {}


def _tokens(settings: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Those settings that name a token."""
    return ((key, settings[key]) for key in (*_DEFAULTS, "word_delimiter_token") if key in settings)


def _token(entry: object, path: Path) -> str | None:
    """A token is written as a string or as an object with the string in `content`; null is no token."""
    if entry is None:
        return None
    token: object = entry.get("content") if isinstance(entry, dict) else entry
    if isinstance(token, str):
        return token
    raise ModelError(
        f"{path}: {shorten(repr(entry), 60)} is no token; a token is a string or has one in `content`; "
        "fetch the model again"
    )


def _added(path: Path) -> dict[str, int]:
    return {token: _id(i, path) for token, i in _read(path).items()}


def _decoder(entries: object, path: Path) -> tuple[dict[str, int], set[str]]:
    """Tokens with their ids, and those among them that are special, of `added_tokens_decoder`."""
    if not isinstance(entries, dict | None):
        raise ModelError(
            f"{path}: added_tokens_decoder must map ids to tokens, not {shorten(repr(entries), 60)}; "
            "fetch the model again"
        )
    ids: dict[str, int] = {}
    special = set()
    for i, entry in (entries or {}).items():
        token = _token(entry, path)
        if token is not None:
            ids[token] = _id(i, path)
            if isinstance(entry, dict) and entry.get("special"):
                special.add(token)
    return ids, special


def _id(value: object, path: Path) -> int:
    if type(value) is int or (isinstance(value, str) and _NUMBER.fullmatch(value)):
        return int(value)
    raise ModelError(f"{path}: {shorten(repr(value), 60)} is no id of a token; fetch the model again")


def _language(table: dict[str, Any], language: object, path: Path) -> dict[str, int]:
    """The table of one language; multilingual files nest one table per language."""
    if table and all(isinstance(value, dict) for value in table.values()):
        if not isinstance(language, str) or language not in table:
            raise ModelError(
                f"{path} holds several languages; set target_lang in tokenizer_config.json to one of them"
            )
        table = table[language]
    if not table or not all(isinstance(value, int) for value in table.values()):
        raise ModelError(f"{path}: no vocabulary in it (it must map tokens to ids)")
    return table
