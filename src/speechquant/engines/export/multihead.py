"""Scaled dot product attention as one operator."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import onnx_ir as ir
from onnx_ir.passes.common import RemoveUnusedNodesPass
from onnxscript.rewriter import pattern

from speechquant.engines.export.builder import constant_of, replace
from speechquant.engines.export.heads import HEADED, HEADS_FIRST, sizes, split_from, splits

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["fuse_attention"]

_LAST_TWO = (0, 1, 3, 2)
_TIME = 2
_PLAIN = 3


def fuse_attention(model: ir.Model) -> int:
    """Write attention as ONNX Runtime's MultiHeadAttention.

    The scores of all queries against all keys are the largest tensors of a Transformer. Unless something is added
    to them, the operator computes them a block at a time, in the cache of the processor; and it needs no transposes
    around it. In a decoder that makes one token at a time it stands for up to 12 operators, which cost more for
    being many than for what they do.

    Args:
        model: Rewritten in place, once constants are folded and rotary embeddings are operators of their own.

    Returns:
        How many were found.
    """
    # Guards that nobody reads any more would count as readers of what is replaced.
    RemoveUnusedNodesPass()(model)
    rules = []
    for biased in (False, True):
        rules += [
            pattern.RewriteRule(_sequences(biased=biased, again=again), _fused, _sequences_fit)
            for again in (False, True)
        ]
        rules.append(pattern.RewriteRule(_one_token(biased=biased), _fused, _token_fits))
    found = sum(int(rule.apply_to_model(model)) for rule in rules)
    for node in tuple(model.graph):
        if node.op_type == "MultiHeadAttention":
            _take_cache(model.graph, node)
    return found


def _sequences(*, biased: bool, again: bool) -> Callable[..., Any]:
    """All frames against all: heads are split off (batch, time, channels), and joined again behind.

    Args:
        biased: Whether something is added to the scores.
        again: Whether the result is reshaped to the shape that it has, before its heads are joined.
    """

    def spelled_out(op: Any, q: Any, k: Any, v: Any, bias: Any) -> Any:
        queries, keys, values = (
            op.Transpose(op.Reshape(x, pattern.ANY_VALUE), perm=HEADS_FIRST, _outputs=[name])
            for x, name in ((q, "queries"), (k, "keys"), (v, "values"))
        )
        mixed = _mixed(op, queries, keys, values, bias)
        if again:
            mixed = op.Reshape(mixed, pattern.ANY_VALUE)
        return op.Reshape(op.Transpose(mixed, perm=HEADS_FIRST), pattern.ANY_VALUE, _outputs=["result"])

    return spelled_out if biased else _without_bias(spelled_out)


def _one_token(*, biased: bool) -> Callable[..., Any]:
    """A single query, whose heads need no transpose, against keys and values whose heads come first."""

    def spelled_out(op: Any, q: Any, k: Any, v: Any, bias: Any) -> Any:
        mixed = _mixed(op, op.Reshape(q, pattern.ANY_VALUE, _outputs=["queries"]), k, v, bias)
        return op.Reshape(mixed, pattern.ANY_VALUE, _outputs=["result"])

    return spelled_out if biased else _without_bias(spelled_out)


def _without_bias(spelled_out: Callable[..., Any]) -> Callable[..., Any]:
    """A pattern has an input for every parameter of its function, so this one must lack the bias."""

    def unbiased(op: Any, q: Any, k: Any, v: Any) -> Any:
        return spelled_out(op, q, k, v, None)

    return unbiased


def _mixed(op: Any, queries: Any, keys: Any, values: Any, bias: Any) -> Any:
    """softmax(q k' [+ bias]) v with both factors scaled, as PyTorch writes it."""
    left = op.Mul(queries, pattern.ANY_VALUE, _outputs=["left"])
    right = op.Mul(op.Transpose(keys, perm=_LAST_TWO), pattern.ANY_VALUE, _outputs=["right"])
    scores = op.MatMul(left, right)
    if bias is not None:
        scores = op.Add(scores, bias)
    return op.MatMul(op.Softmax(scores, axis=-1), values, _outputs=["mixed"])


def _fused(op: Any, q: ir.Value, k: ir.Value, v: ir.Value, **found: Any) -> Any:
    bias = found.get("bias")
    inputs = (q, k, v) if bias is None else (q, k, v, None, None, bias)
    settings = {"num_heads": found["queries"].shape[1], "scale": _scale(found)}
    return op.MultiHeadAttention(*inputs, **settings, _domain="com.microsoft", _version=1)


def _sequences_fit(_context: Any, **found: Any) -> bool:
    split = (("q", "queries"), ("k", "keys"), ("v", "values"))
    return all(splits(found[x], found[heads]) for x, heads in split) and _fits(found, sizes(found["keys"]))


def _token_fits(_context: Any, **found: Any) -> bool:
    queries = sizes(found["queries"])
    return (
        splits(found["q"], found["queries"])
        and queries[2] == 1
        and len(sizes(found["v"])) == HEADED
        and _fits(found, sizes(found["k"]))
    )


def _fits(found: dict[str, Any], keys: tuple[int | str, ...]) -> bool:
    """Whether scales are numbers, heads are joined in their order, and a bias has a value for every score."""
    mixed = sizes(found["mixed"])
    if len(mixed) != HEADED or len(keys) != HEADED or not splits(found["result"], found["mixed"]):
        return False
    batch, heads, time, _ = mixed
    bias = sizes(found["bias"]) if "bias" in found else (1, 1, time, keys[2])
    return (
        _scale(found) is not None
        and len(bias) == HEADED
        and bias[0] in {1, batch}
        and bias[1] in {1, heads}
        and bias[2:] == (time, keys[2])
    )


def _scale(found: dict[str, Any]) -> float | None:
    """What the scores are multiplied by: the product of the two constants; None where they are none."""
    scale = 1.0
    for side in ("left", "right"):
        constant = constant_of(found[side].producer().inputs[1])
        if constant is None or constant.size != 1:
            return None
        scale *= float(constant.reshape(()))
    return scale


def _take_cache(graph: ir.Graph, node: ir.Node) -> None:
    """Let the operator append a token to the keys and values before it, where the graph does so in front."""
    query, keys, values = node.inputs[:3]
    key, value = _appended(keys), _appended(values)
    if len(node.inputs) > _PLAIN or key is None or value is None:
        return
    inputs = [query, key[1], value[1], None, None, None, key[0], value[0]]
    new = ir.Node(node.domain, node.op_type, inputs, node.attributes.values(), num_outputs=3, name=node.name)
    graph.insert_before(node, new)
    for old, output in zip((node.outputs[0], keys, values), new.outputs, strict=True):
        assert old is not None
        output.name = f"{old.name}/cached"
        replace(old, output)


def _appended(whole: ir.Value | None) -> tuple[ir.Value, ir.Value] | None:
    """What was there before, and the token behind it as (batch, 1, channels); None where it is something else."""
    node = whole.producer() if whole is not None else None
    if node is None or node.op_type != "Concat" or node.attributes.get_int("axis") != _TIME:
        return None
    past, token = node.inputs
    joined = split_from(token) if token is not None else None
    return None if past is None or joined is None or sizes(token)[_TIME] != 1 else (past, joined)
