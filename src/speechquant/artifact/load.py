"""Open an artifact. Nothing in it is trusted: JSON is bounded and checked, and there are no pickles."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from speechquant.artifact.manifest import AGAIN, MANIFEST, Manifest, read_manifest
from speechquant.artifact.storage import storage_of
from speechquant.artifact.weights import WEIGHTS, Tensors
from speechquant.decoding import read_json
from speechquant.errors import ArtifactError
from speechquant.numerics import Entry, ScaleTable

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from speechquant.artifact.manifest import SiteRecord
    from speechquant.artifact.storage import Storage

__all__ = ["Artifact", "is_artifact", "load_artifact"]

_AXES = {"tensor": 0, "channel": 1, "group": 2}


@dataclass(frozen=True)
class Artifact:
    """An opened artifact: its folder, and the checked contents of `quantization.json`."""

    folder: Path
    info: Manifest

    @property
    def onnx(self) -> Path:
        """The folder of the engine files."""
        return self.folder / "onnx"

    @cached_property
    def metrics(self) -> dict[str, Any]:
        """All figures of `metrics.json`.

        Raises:
            ArtifactError: missing or not a JSON object.
        """
        return read_json(self.folder / "metrics.json", fault=ArtifactError, advice=AGAIN)

    def storage(self) -> Storage:
        """Bits and bytes of `model.safetensors`.

        Raises:
            ArtifactError: the file is missing or damaged.
        """
        return storage_of(self.folder / WEIGHTS, self.info.searched)

    def tensors(self) -> Tensors:
        """The model's tensors by name, dequantized when they are asked for.

        Raises:
            ArtifactError: `model.safetensors` is missing or damaged.
        """
        return Tensors(self.folder / WEIGHTS)

    def scale_table(self) -> ScaleTable:
        """Every quantized site with its scales, exactly as it was saved.

        Raises:
            ArtifactError: scales per channel cannot be read.
        """
        tensors = self.tensors() if any(record.scale_tensor for record in self.info.sites) else None
        entries = {}
        for record in self.info.sites:
            scale = _scale(record, tensors)
            entries[record.site.name] = Entry(record.site, record.spec, scale)
        return ScaleTable(entries)


def is_artifact(folder: Path) -> bool:
    """Whether a folder claims to be an artifact."""
    return (folder / MANIFEST).is_file()


def load_artifact(folder: str | Path) -> Artifact:
    """Open an artifact and check `quantization.json`; hashes are left to `verify_artifact`.

    Raises:
        ArtifactError: no artifact, malformed, or of another format version.
    """
    path = Path(folder)
    return Artifact(path, read_manifest(path))


def _scale(record: SiteRecord, tensors: Tensors | None) -> NDArray[np.float32]:
    if record.scale is not None or tensors is None:
        return np.asarray(record.scale, np.float32)
    scale = tensors.raw(record.scale_tensor or "")
    types = (np.float16, np.float32) if record.granularity == "group" else (np.float32,)
    if scale.dtype not in types or scale.ndim != _AXES[record.granularity] or not scale.size:
        raise ArtifactError(
            f"{tensors.path}: {record.scale_tensor} holds {scale.dtype} of shape {scale.shape}, which is not "
            f"one scale per {record.granularity}; fetch the artifact again"
        )
    return scale.astype(np.float32)
