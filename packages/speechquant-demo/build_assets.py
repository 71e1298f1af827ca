"""Select the assets of this package again from the folder they came from: `python build_assets.py SOURCE`.

SOURCE holds `models/NAME/` and `data/{train,dev,test}.jsonl` with the audio beside the manifests. The same
source gives the same files byte for byte: choices that need chance are ordered by a hash of a fixed seed and
the utterance, which does not depend on the Python version. SHA256SUMS is written last and lists every file.
"""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
import sys
from itertools import pairwise
from operator import itemgetter
from pathlib import Path
from typing import Any

__all__ = ["build"]

Row = dict[str, Any]

HERE = Path(__file__).resolve().parent
PACKAGE = HERE / "src" / "speechquant_demo"
# What an artifact made from a model takes along: the text of the licence, and its name in the model card.
MODELS = {"moonshine-tiny": "MIT-Moonshine.txt", "hubert-mini-ctc": "MIT-Whisper.txt"}
FRONT_MATTER = {
    "hubert-mini-ctc": """---
license: other
license_name: mit-in-part
license_link: LICENSE
language: en
library_name: transformers
pipeline_tag: automatic-speech-recognition
---
"""
}
SEED = "speechquant-demo 1"
CALIBRATION_UTTERANCES = 36
CALIBRATION_SECONDS = (2.0, 13.0)
SMALL_PER_SPEAKER = 11

log = logging.getLogger("build_assets")


def build(source: Path, package: Path = PACKAGE) -> None:
    """Replace models, audio, manifests and SHA256SUMS in `package` with a fresh selection from `source`."""
    for name, licence in MODELS.items():
        _copy_model(source / "models" / name, package / "models" / name, HERE / "licenses" / licence)
    data = source / "data"
    train, dev, test = (_read(data / f"{split}.jsonl") for split in ("train", "dev", "test"))
    target = package / "data"
    _write(target, "calibration", _copy(data, target, "calibration", spread(train)))
    dev_rows = _copy(data, target, "dev", dev)
    _write(target, "dev", dev_rows)
    _write(target, "dev-small", strata(dev_rows))
    _write(target, "test", _copy(data, target, "test", test))
    _sums(package)


def _copy_model(source: Path, target: Path, licence: Path) -> None:
    _fresh(target)
    for file in sorted(source.iterdir()):
        shutil.copyfile(file, target / file.name)
    shutil.copyfile(licence, target / "LICENSE")
    card = target / "README.md"
    card.write_bytes(FRONT_MATTER.get(target.name, "").encode() + card.read_bytes())


def spread(rows: list[Row]) -> list[Row]:
    """About 4.5 minutes over all speakers.

    Wanted lengths climb evenly from 2 to 13 s; in random order each goes to the next speaker, who gives the
    unused utterance that comes closest.
    """
    low, high = CALIBRATION_SECONDS
    last = CALIBRATION_UTTERANCES - 1
    targets = sorted((low + (high - low) * i / last for i in range(last + 1)), key=_chance)
    speakers = sorted({row["speaker"] for row in rows}, key=_chance)
    chosen: list[Row] = []
    for i, seconds in enumerate(targets):
        speaker = speakers[i % len(speakers)]
        left = [row for row in rows if row["speaker"] == speaker and row not in chosen]
        misses = [(abs(row["seconds"] - seconds), row["path"], row) for row in left]
        chosen.append(min(misses, key=itemgetter(0, 1))[2])
    return sorted(chosen, key=lambda row: str(row["path"]))


def strata(rows: list[Row]) -> list[Row]:
    """About 5 minutes: of each speaker one random utterance from each of 11 groups of similar length."""
    chosen: list[Row] = []
    for speaker in sorted({row["speaker"] for row in rows}):
        own = sorted((r for r in rows if r["speaker"] == speaker), key=lambda r: (r["seconds"], r["path"]))
        edges = [round(i * len(own) / SMALL_PER_SPEAKER) for i in range(SMALL_PER_SPEAKER + 1)]
        groups = (own[a:b] for a, b in pairwise(edges))
        chosen += [min(group, key=lambda row: _chance(row["path"])) for group in groups]
    return sorted(chosen, key=lambda row: str(row["path"]))


def _chance(value: object) -> str:
    return hashlib.sha256(f"{SEED}|{value}".encode()).hexdigest()


def _read(manifest: Path) -> list[Row]:
    return [json.loads(line) for line in manifest.read_text(encoding="utf-8").splitlines()]


def _copy(source: Path, target: Path, role: str, rows: list[Row]) -> list[Row]:
    _fresh(target / role)
    moved = []
    for row in rows:
        name = Path(row["path"]).name
        shutil.copyfile(source / row["path"], target / role / name)
        moved.append({"id": Path(name).stem, **row, "path": f"{role}/{name}"})
    return moved


def _write(target: Path, role: str, rows: list[Row]) -> None:
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    (target / f"{role}.jsonl").write_text(text, encoding="utf-8", newline="\n")
    speakers = len({row["speaker"] for row in rows})
    minutes = sum(row["seconds"] for row in rows) / 60
    log.info("%s: %d utterances, %d speakers, %.2f minutes", role, len(rows), speakers, minutes)


def _fresh(folder: Path) -> None:
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir(parents=True)


def _sums(package: Path) -> None:
    kept = [*(package / "models").rglob("*"), *(package / "data").rglob("*")]
    files = sorted(path for path in kept if path.is_file() and path != package / "data" / "README.md")
    digests = [hashlib.sha256(path.read_bytes()).hexdigest() for path in files]
    names = [path.relative_to(package).as_posix() for path in files]
    lines = [f"{digest}  {name}\n" for digest, name in zip(digests, names, strict=True)]
    (package / "SHA256SUMS").write_text("".join(lines), encoding="utf-8", newline="\n")


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    if len(sys.argv) != 2 or not Path(sys.argv[1], "data", "train.jsonl").is_file():  # noqa: PLR2004
        sys.exit("usage: python build_assets.py SOURCE   (a folder with models/ and data/train.jsonl)")
    build(Path(sys.argv[1]))
