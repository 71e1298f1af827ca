"""CTC vocabularies, and the choice of a vocabulary by the files of a model folder."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from speechquant.decoding.bpe import BPEVocabulary
from speechquant.decoding.json_file import read_json
from speechquant.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

__all__ = ["CTCVocabulary", "load_vocabulary"]

_DEFAULTS = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"}
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
            ModelError: no vocabulary, an unreadable one, one without the padding token that CTC uses as
                blank, or a vocabulary of several languages without a chosen one.
        """
        settings = _read(folder / "special_tokens_map.json") | _read(folder / "tokenizer_config.json")
        path = folder / "vocab.json"
        table = _language(_read(path), settings.get("target_lang"), path)
        added = {str(token): int(i) for token, i in _read(folder / "added_tokens.json").items()}
        entries = settings.get("added_tokens_decoder") or {}
        added |= {_content(entry): int(i) for i, entry in entries.items()}
        tokens = {i: token for token, i in added.items()} | {i: token for token, i in table.items()}
        ids = {token: i for i, token in tokens.items()}
        names = {_content(settings.get(key, default)) for key, default in _DEFAULTS.items()}
        names |= {
            _content(entry) for entry in entries.values() if isinstance(entry, dict) and entry.get("special")
        }
        delimiter = _content(settings.get("word_delimiter_token", "|"))
        blank = ids.get(_content(settings.get("pad_token", _DEFAULTS["pad_token"])))
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


def _content(entry: Any) -> str:
    """A token is written as a string or as an object with the string in `content`."""
    return str(entry["content"] if isinstance(entry, dict) else entry)


def _language(table: dict[str, Any], language: str | None, path: Path) -> dict[str, int]:
    """The table of one language; multilingual files nest one table per language."""
    if table and all(isinstance(value, dict) for value in table.values()):
        if language not in table:
            raise ModelError(
                f"{path} holds several languages; set target_lang in tokenizer_config.json to one of them"
            )
        table = table[language]
    if not table or not all(isinstance(value, int) for value in table.values()):
        raise ModelError(f"{path}: no vocabulary in it (it must map tokens to ids)")
    return table
