"""The folder that a run ends with: written atomically, read without trust, checked on request. No torch."""

from __future__ import annotations

from speechquant.artifact.amend import amended_folder
from speechquant.artifact.cutoffs import Cutoffs, cutoffs_text, shared_or_by_layer
from speechquant.artifact.load import Artifact, is_artifact, load_artifact
from speechquant.artifact.manifest import FileRecord, Manifest, ModelRecord, Signatures, SiteRecord
from speechquant.artifact.record import write_float_record
from speechquant.artifact.save import ArtifactContents, package_versions, save_artifact
from speechquant.artifact.staging import check_target, staged_folder
from speechquant.artifact.storage import Storage, storage_of
from speechquant.artifact.verify import Check, Verification, verify_artifact
from speechquant.artifact.weights import Tensors

__all__ = [
    "Artifact",
    "ArtifactContents",
    "Check",
    "Cutoffs",
    "FileRecord",
    "Manifest",
    "ModelRecord",
    "Signatures",
    "SiteRecord",
    "Storage",
    "Tensors",
    "Verification",
    "amended_folder",
    "check_target",
    "cutoffs_text",
    "is_artifact",
    "load_artifact",
    "package_versions",
    "save_artifact",
    "shared_or_by_layer",
    "staged_folder",
    "storage_of",
    "verify_artifact",
    "write_float_record",
]
