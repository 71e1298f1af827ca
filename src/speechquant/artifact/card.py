"""The model card of an artifact: what it is, what was measured, how to use it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from yaml import safe_dump

from speechquant.artifact.cutoffs import cutoffs_text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from speechquant.artifact.manifest import Manifest

__all__ = ["model_card"]

_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
_SIGNIFICANT = 0.05


def model_card(manifest: Manifest, metrics: Mapping[str, Any], *, license_name: str | None = None) -> str:
    """Markdown with the front matter of the Hugging Face hub.

    Every figure comes from `metrics` (the contents of `metrics.json`); what was not measured is not claimed.
    """
    model = manifest.model
    front: dict[str, Any] = {
        "library_name": "speechquant",
        "pipeline_tag": "automatic-speech-recognition",
        "tags": ["speechquant", "quantized", manifest.method, manifest.bits, "onnx"],
    }
    if license_name:
        front["license"] = license_name
    if _HUB_ID.fullmatch(model.source):
        front |= {"base_model": model.source, "base_model_relation": "quantized"}
    parts = [
        f"---\n{safe_dump(front, sort_keys=False, allow_unicode=True)}---\n",
        f"# {model.name}, {manifest.bits.upper()} by {manifest.method}\n",
        _origin(manifest),
        *_accuracy(metrics),
        *_size_and_speed(metrics),
        *_decisions(manifest),
        _USE,
        *_licence(license_name),
    ]
    return "\n".join(parts)


def _origin(manifest: Manifest) -> str:
    operators = len({record.module for record in manifest.sites})
    made_by = f"speechquant {manifest.created_with.get('speechquant', '')}".strip()
    what = "weights and activations" if _quantizes_activations(manifest) else "weights"
    return (
        f"`{manifest.model.source}` quantized with {made_by}: {what} of {operators} "
        "operators as integers, everything else in float.\n"
    )


def _quantizes_activations(manifest: Manifest) -> bool:
    return any(record.role == "input" for record in manifest.sites)


def _accuracy(metrics: Mapping[str, Any]) -> list[str]:
    rows = [
        (name, metrics[key])
        for key, name in _SYSTEMS
        if isinstance(metrics.get(key), dict) and "wer" in metrics[key]
    ]
    if not rows:
        return []
    own = metrics.get("references") == "float model"
    head = "Disagreement with the float model" if own else "Word error rate"
    lines = [
        "## Accuracy\n",
        f"| | {head} (%) | 95 % interval | Words | Sub. | Del. | Ins. |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name, row in rows:
        counts = " | ".join(
            str(row.get(key, "")) for key in ("words", "substitutions", "deletions", "insertions")
        )
        low, high = _number(row.get("low"), 2), _number(row.get("high"), 2)
        lines.append(f"| {name} | {_number(row['wer'], 2)} | {low} to {high} | {counts} |")
    if own:
        lines.append("\nNobody transcribed this speech: the references are the float model's own output.")
    # Against its own output the float model has no errors, so the test would always find it better.
    p_value = None if own else metrics.get("p_value")
    if isinstance(p_value, float | int):
        found = "a significant" if p_value < _SIGNIFICANT else "no significant"
        lines.append(
            f"\nPaired test against the float model (MAPSSWE): {found} difference, p = {p_value:.3g}."
        )
    return [*lines, ""]


_SYSTEMS = (("float", "float"), ("naive_max", "naive max calibration"), ("quantized", "**this artifact**"))


def _size_and_speed(metrics: Mapping[str, Any]) -> list[str]:
    lines = []
    size, time = _pair(metrics.get("bytes")), _pair(metrics.get("latency_ms"))
    if size:
        share = 100 * size[1] / size[0]
        lines.append(
            f"- Engine files: {size[1] / 1e6:.1f} MB, {share:.0f} % of {size[0] / 1e6:.1f} MB in float32."
        )
    if time:
        seconds = metrics["latency_ms"].get("seconds")
        audio = f" for {seconds:g} s of audio" if isinstance(seconds, float | int) else ""
        lines.append(
            f"- Latency{audio}: {time[1]:.0f} ms against {time[0]:.0f} ms for float32 on the same engine, "
            f"interleaved medians{_speedup(metrics['latency_ms'])}."
        )
    lines += _stored(metrics.get("storage"))
    coverage = metrics.get("coverage")
    if isinstance(coverage, dict) and "int8" in coverage and "total" in coverage:
        small = coverage.get("weights_4bit")
        what = f"{small} of {coverage['total']} operators keep their weights in 4 bits"
        if not small:
            what = f"{coverage['int8']} of {coverage['total']} operators with weights run in int8"
        lines.append(f"- {what}, as read back from the engine.")
    return ["## Size and speed\n", *lines, ""] if lines else []


def _stored(storage: object) -> list[str]:
    """What the file of weights takes."""
    wanted = ("stored_bytes", "ratio", "packed_ratio", "average_bits")
    if not isinstance(storage, dict) or not all(
        isinstance(storage.get(name), float | int) for name in wanted
    ):
        return []
    if storage["ratio"] <= 1:
        return []
    text = (
        f"- Weights on disk: {storage['stored_bytes'] / 1e6:.1f} MB, {storage['ratio']:.1f} times smaller than in "
        f"float32 ({storage['packed_ratio']:.1f} before entropy coding); their integers are held in "
        f"{storage['average_bits']:.2f} bits on average over all parameters."
    )
    return [text]


def _speedup(latency: Mapping[str, Any]) -> str:
    known = latency.get("speedup")
    factor = known.get("float") if isinstance(known, dict) else None
    return f"; {factor:.2f} times as fast in the median turn" if isinstance(factor, float | int) else ""


def _decisions(manifest: Manifest) -> list[str]:
    if _quantizes_activations(manifest):
        clipped = ", ".join(f"`{layer}`" for layer in manifest.selected_layers) or "none"
        cut = f", cut-off {cutoffs_text(manifest.p_opt)}" if manifest.p_opt is not None else ""
        text = f"Layers whose activations are clipped: {clipped}{cut}.{_left_in_float(manifest)}"
    else:
        sizes = sorted({record.group_size for record in manifest.sites if record.group_size is not None})
        shared = f" One scale for every {', '.join(map(str, sizes))} weights." if sizes else ""
        text = f"Activations are not quantized.{shared}"
    return [
        "## Decisions\n",
        f"{text} All decisions stand in `quantization.json`; `recipe.yaml` repeats the run.\n",
    ]


def _left_in_float(manifest: Manifest) -> str:
    layers = ", ".join(f"`{layer}`" for layer in manifest.float_layers)
    return f" Left in float, because no cut-off saved the word error rate: {layers}." if layers else ""


_USE = """## Use

```
pip install speechquant
speechquant transcribe . recording.wav
```

```python
import speechquant as sq

print(sq.load(".").transcribe("recording.wav").text)
```

Neither needs PyTorch. `speechquant verify .` checks that the files are complete and unaltered.
"""


def _licence(license_name: str | None) -> list[str]:
    known = f" ({license_name})" if license_name else ""
    text = f"Quantization does not change the licence{known}: that of the original model applies.\n"
    return ["## Licence\n", text]


def _pair(figures: Any) -> tuple[float, float] | None:
    """The float and the quantized figure where both were measured."""
    if not isinstance(figures, dict) or not figures.get("float") or not figures.get("quantized"):
        return None
    return float(figures["float"]), float(figures["quantized"])


def _number(value: Any, digits: int) -> str:
    return f"{value:.{digits}f}" if isinstance(value, float | int) else "n/a"
