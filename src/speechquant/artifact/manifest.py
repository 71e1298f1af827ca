"""The contents of `quantization.json`: every decision that made an artifact, checked field by field."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from speechquant.decoding import read_small
from speechquant.errors import ArtifactError
from speechquant.numerics import MAX_BITS, MIN_BITS, Granularity, QuantSpec, Role, Site

__all__ = [
    "AGAIN",
    "FORMAT_VERSION",
    "MANIFEST",
    "FileRecord",
    "Manifest",
    "ModelRecord",
    "Signatures",
    "SiteRecord",
    "inside",
    "read_manifest",
]

MANIFEST = "quantization.json"
FORMAT_VERSION: Literal[1] = 1
AGAIN = "fetch or make the artifact again"

Percent = Annotated[float, Field(ge=0, le=100)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)


class ModelRecord(_Strict):
    """The reference: what it is called, where it came from, and how it is run."""

    name: str
    source: str
    family: str
    task: Literal["ctc", "seq2seq"]


class SiteRecord(_Strict):
    """One quantized tensor.

    One scale stands in `scale` (a float32 value, exact as a JSON number); scales per channel or group are the
    tensor `scale_tensor` of `model.safetensors`. `tensor` names the packed weight and is None for activations.
    `maximum` is the largest magnitude of an activation that calibration saw.
    """

    module: str
    role: Role
    layer: str
    bits: Annotated[int, Field(ge=MIN_BITS, le=MAX_BITS)]
    granularity: Granularity
    narrow: bool
    group_size: Annotated[int, Field(ge=1)] | None = None
    scale: Annotated[float, Field(gt=0)] | None = None
    scale_tensor: str | None = None
    tensor: str | None = None
    maximum: Annotated[float, Field(ge=0)] | None = None

    @model_validator(mode="after")
    def _one_scale(self) -> SiteRecord:
        if (self.scale is None) == (self.scale_tensor is None):
            raise ValueError("a site has either scale or scale_tensor")
        if (self.tensor is None) != (self.role == "input"):
            raise ValueError("weights name their tensor and activations have none")
        if (self.granularity == "group") != (self.group_size is not None):
            raise ValueError("a group size belongs to scales per group, and to no others")
        if self.granularity == "group" and self.role == "input":
            raise ValueError("activations have no scales per group")
        return self

    @property
    def site(self) -> Site:
        """The site of this record."""
        return Site(self.module, self.role, self.layer)

    @property
    def spec(self) -> QuantSpec:
        """How its tensor is quantized."""
        return QuantSpec(self.bits, self.granularity, self.narrow, self.group_size)


class Signatures(_Strict):
    """Hashes of the reference, of each data set by role, and of the scale table."""

    model: str
    data: dict[str, str]
    scale_table: Sha256


class FileRecord(_Strict):
    """What a file must be."""

    sha256: Sha256
    bytes: Annotated[int, Field(ge=0)]


class Manifest(_Strict):
    """`quantization.json`.

    `files` lists every file of the folder but this one, by path relative to the folder. `p_opt` is in
    percent, by layer where layers differ, None where no cut-off was searched. `float_layers` are those that the
    search left in float. `rounding` is the method by
    which weights became integers, `searched` names the modules whose weights got bits of their own by a search.
    `metrics` is a summary; `metrics.json` has all figures.
    """

    format: Literal["speechquant"]
    format_version: Literal[1]
    model: ModelRecord
    method: str
    bits: str
    selected_layers: tuple[str, ...]
    p_opt: Percent | dict[str, Percent] | None
    float_layers: tuple[str, ...] = ()
    rounding: str = "nearest"
    searched: tuple[str, ...] = ()
    sites: tuple[SiteRecord, ...]
    metrics: dict[str, float | None]
    signatures: Signatures
    created_with: dict[str, str]
    files: dict[str, FileRecord]

    @model_validator(mode="after")
    def _unique_sites(self) -> Manifest:
        if len({record.site.name for record in self.sites}) != len(self.sites):
            raise ValueError("a site is listed twice")
        return self


def read_manifest(folder: Path) -> Manifest:
    """Read and check `quantization.json`; every path in it stays inside the folder.

    Raises:
        ArtifactError: no artifact, unreadable, malformed, or written by another version of the format.
    """
    path = folder / MANIFEST
    if not folder.is_dir():
        raise ArtifactError(f"{folder}: no such artifact folder; check the path")
    if not path.is_file():
        raise ArtifactError(
            f"{folder}: is not an artifact (it has no {MANIFEST}); make one with `speechquant quantize`"
        )
    try:
        manifest = Manifest.model_validate_json(read_small(path, fault=ArtifactError, advice=AGAIN))
    except ValidationError as error:
        raise ArtifactError(f"{path}: {_first(error)}") from error
    for name in manifest.files:
        inside(folder, name)
    return manifest


def inside(folder: Path, name: str) -> Path:
    """The path of a listed file.

    Raises:
        ArtifactError: the name is absolute, has `..`, or leads out of the folder through a link.
    """
    parts = PurePosixPath(name)
    plain = name and not parts.is_absolute() and ".." not in parts.parts
    if not plain or any(char in name for char in "\\:\0"):
        raise ArtifactError(f"{folder / MANIFEST}: lists {name!r}, which is not a path inside the artifact")
    path = folder / parts
    try:
        stays = path.resolve().is_relative_to(folder.resolve())
    except (OSError, RuntimeError) as error:
        raise ArtifactError(f"{path}: cannot be followed ({error}); fetch the artifact again") from error
    if not stays:
        raise ArtifactError(f"{path}: is a link that leads out of the artifact; copy the file itself there")
    return path


def _first(error: ValidationError) -> str:
    """The first thing wrong, in one line."""
    detail = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(str(part) for part in detail["loc"])
    if where == "format_version":
        return (
            f"is of another format version than {FORMAT_VERSION}; use the speechquant release that wrote it "
            "or make the artifact again"
        )
    message = " ".join(detail["msg"].split())
    place = f" at {where}" if where else ""
    return f"is malformed{place} ({message}); {AGAIN}"
