"""All makers: importing this registers them."""

from __future__ import annotations

import importlib

for _name in ("peer_ours", "peer_onnxruntime", "peer_nncf", "peer_nncf_control"):
    importlib.import_module(_name)
