"""What TensorRT's ONNX parser takes, as far as the graphs of speech models need it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["AXES", "KINDS", "OPERATORS", "OPSETS", "SAME_TYPE", "Kind"]

Kind = Literal["float", "integer", "bool", "int8"]

OPSETS = range(20, 25)
"""Of the default domain: 20 has the operators that the exporter writes, 24 is the last of TensorRT 10.15."""

AXES = ("batch", "samples", "frames", "past")
"""Names of dynamic axes for which an optimisation profile can be made."""

KINDS: Mapping[str, Kind] = {
    "FLOAT": "float",
    "FLOAT16": "float",
    "BFLOAT16": "float",
    "INT32": "integer",
    "INT64": "integer",
    "BOOL": "bool",
    "INT8": "int8",
}
"""ONNX element types that a network may have inside; 8-bit integers only between a quantizer's two halves."""

_FLOAT = """
Acos Acosh Asin Asinh Atan Atanh BatchNormalization Ceil Clip Conv ConvTranspose Cos Cosh CumSum Elu Erf Exp
Floor Gelu Gemm GroupNormalization HardSigmoid HardSwish InstanceNormalization IsInf LayerNormalization
LeakyRelu Log LogSoftmax MatMul Mish PRelu QuantizeLinear RMSNormalization Reciprocal Round Selu Sigmoid Sin
Sinh Softmax Softplus Softsign Sqrt Tan Tanh
"""
_NUMBER = """
Abs Add ArgMax ArgMin Div Equal Greater GreaterOrEqual IsNaN Less LessOrEqual Max Mean Min Mod Mul Neg Pad
Pow Range ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum
ReduceSumSquare Relu ScatterElements ScatterND Sign Sub Sum TopK
"""
_ANY = """
Cast CastLike Concat Constant ConstantOfShape Expand Flatten Gather GatherElements GatherND Identity OneHot
Reshape Shape Size Slice Split Squeeze Tile Transpose Trilu Unsqueeze Where
"""
_BOOL = "And Not Or Xor"

OPERATORS: Mapping[str, frozenset[Kind]] = {
    **dict.fromkeys(_FLOAT.split(), frozenset[Kind]({"float"})),
    **dict.fromkeys(_NUMBER.split(), frozenset[Kind]({"float", "integer"})),
    **dict.fromkeys(_ANY.split(), frozenset[Kind]({"float", "integer", "bool"})),
    **dict.fromkeys(_BOOL.split(), frozenset[Kind]({"bool"})),
    "DequantizeLinear": frozenset[Kind]({"int8"}),
}
"""Operators and the kinds of data that they take.

From the support matrix of ONNX-TensorRT for TensorRT 10.15 (docs/operators.md there). Left out are those
that it has but that give outputs of a size unknown beforehand, or contain graphs of their own.
"""

_EVERY = tuple(range(16))
_JOINS = """
Add BatchNormalization Clip Concat Conv ConvTranspose Div Equal Gemm Greater GreaterOrEqual
GroupNormalization InstanceNormalization LayerNormalization Less LessOrEqual MatMul Max Mean Min Mod Mul
PRelu Pow RMSNormalization Range Sub Sum
"""
SAME_TYPE: Mapping[str, tuple[int, ...]] = {
    **dict.fromkeys(_JOINS.split(), _EVERY),
    "Where": (1, 2),
    "QuantizeLinear": (0, 1),
}
"""Inputs that must be of one type: a strongly typed network converts nothing by itself."""
