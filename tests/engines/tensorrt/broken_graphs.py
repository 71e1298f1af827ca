"""Ways to break a graph for TensorRT, and the rule that each of them breaks."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


class Edit:
    """A copy of a graph, with what a test needs to break it."""

    def __init__(self, model):
        self.model = onnx.ModelProto()
        self.model.CopyFrom(model)
        self.graph = self.model.graph

    def first(self, op_type, accept=lambda node: True):
        return next(node for node in self.graph.node if node.op_type == op_type and accept(node))

    def producer(self, name):
        return next(node for node in self.graph.node if name in node.output)

    def readers(self, name):
        return [node for node in self.graph.node if name in node.input]

    def tensor(self, name):
        return next(tensor for tensor in self.graph.initializer if tensor.name == name)

    def is_constant(self, name):
        return any(tensor.name == name for tensor in self.graph.initializer)

    def constant(self, values, name="new_constant"):
        self.graph.initializer.append(numpy_helper.from_array(np.asarray(values), name))
        return name

    def before(self, node, op_type, inputs, name="new_node", **attributes):
        made = helper.make_node(op_type, inputs, [f"{name}/out"], name=name, **attributes)
        self.graph.node.insert(list(self.graph.node).index(node), made)
        return f"{name}/out"

    def weight_of(self, op_type):
        """The DequantizeLinear of the weight of the first product of a type."""
        return self.producer(self.first(op_type, self._weighted).input[1])

    def quantizer_of(self, op_type):
        """The QuantizeLinear of the activation of the first product of a type."""
        dequantize = self.producer(self.first(op_type, self._weighted).input[0])
        return self.producer(dequantize.input[0])

    def _weighted(self, node):
        made = [n for n in self.graph.node if node.input[1] in n.output]
        return bool(made) and made[0].op_type == "DequantizeLinear"


def old_opset(e):
    e.model.opset_import[0].version = 19


def new_opset(e):
    e.model.opset_import[0].version = 26


def own_domain(e):
    e.model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    e.first("Softmax").domain = "com.microsoft"


def unknown_operator(e):
    node = e.first("Add")
    e.before(node, "HannWindow", [e.constant(np.int64(4))])


def second_output(e):
    e.first("LayerNormalization").output.append("mean")


def root_of_integers(e):
    value = e.constant(np.array([4], np.int64))
    e.before(e.first("Add"), "Neg", [e.before(e.first("Add"), "Sigmoid", [value], name="s")], name="n")


def double_input(e):
    e.graph.input.append(helper.make_tensor_value_info("extra", TensorProto.DOUBLE, ["batch"]))


def double_inside(e):
    node = e.first("Add")
    e.before(node, "Cast", [node.input[0]], to=TensorProto.DOUBLE)


def mixed_types(e):
    node = e.first("Gelu")
    half = e.before(node, "Cast", [node.input[0]], name="half", to=TensorProto.FLOAT16)
    e.before(node, "Pow", [node.input[0], half])


def mixed_quantizer(e):
    node = e.quantizer_of("Conv")
    node.input[0] = e.before(node, "Cast", [node.input[0]], to=TensorProto.FLOAT16)


def unnamed_axis(e):
    e.graph.input[0].type.tensor_type.shape.dim[1].ClearField("dim_param")


def unknown_axis(e):
    e.graph.input[0].type.tensor_type.shape.dim[1].dim_param = "width"


def shape_from_data(e):
    node = e.first("Reshape", lambda node: True)
    wave = e.graph.input[0].name
    big = e.before(
        node, "ReduceMax", [wave, e.constant(np.array([0, 1], np.int64), "axes")], name="m", keepdims=0
    )
    number = e.before(node, "Cast", [big], name="c", to=TensorProto.INT64)
    node.input[1] = e.before(node, "Reshape", [number, e.constant(np.array([-1], np.int64), "one")], name="r")


def axes_from_shape(e):
    node = e.first("Unsqueeze")
    node.input[1] = e.before(node, "Shape", [e.graph.input[0].name], start=0, end=1)


def one_dimension(e):
    conv, dequantize = e.first("Conv"), e.weight_of("Conv")
    tensor, quantize = e.tensor(dequantize.input[0]), e.quantizer_of("Conv")
    tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor)[..., 0], tensor.name))
    quantize.input[0] = e.producer(quantize.input[0]).input[0]
    lists = {a.name: list(a.ints) for a in conv.attribute if a.ints}
    for a in conv.attribute:
        if a.name in lists:
            a.CopyFrom(helper.make_attribute(a.name, lists[a.name][: 1 if a.name != "pads" else 4 : 2]))
    (squeeze,) = e.readers(conv.output[0])
    squeeze.op_type = "Identity"
    del squeeze.input[1]


def unsigned(e):
    quantize = e.quantizer_of("MatMul")
    zero = e.constant(np.uint8(0))
    quantize.input[2] = zero
    for reader in e.readers(quantize.output[0]):
        reader.input[2] = zero


def sixteen_bits(e):
    quantize = e.quantizer_of("MatMul")
    zero = e.constant(np.int16(0))
    quantize.input[2] = zero
    for reader in e.readers(quantize.output[0]):
        reader.input[2] = zero


def zero_point_of_weight(e):
    dequantize = e.weight_of("MatMul")
    size = e.tensor(dequantize.input[1]).dims[0]
    dequantize.input[2] = e.constant(np.eye(1, size, 1, dtype=np.int8)[0])


def no_zero_point(e):
    del e.weight_of("Conv").input[2]


def zero_points_of_other_shape(e):
    e.weight_of("MatMul").input[2] = e.constant(np.int8(0))


def change_scale(value):
    def change(e):
        dequantize = e.weight_of("MatMul")
        tensor = e.tensor(dequantize.input[1])
        values = numpy_helper.to_array(tensor).copy()
        values[0] = value
        tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))

    change.__name__ = f"scale_{value}"
    return change


def scale_from_data(e):
    node = e.quantizer_of("MatMul")
    node.input[1] = e.before(node, "Identity", [node.input[1]])


def scales_of_activation(e):
    quantize = e.quantizer_of("MatMul")
    channels = e.tensor(e.weight_of("MatMul").input[0]).dims[0]
    names = [
        e.constant(np.full(channels, 0.1, np.float32), "s"),
        e.constant(np.zeros(channels, np.int8), "z"),
    ]
    for node in (quantize, *e.readers(quantize.output[0])):
        node.input[1], node.input[2] = names


def other_axis(op_type):
    def change(e):
        # A square matrix, along whose other axis the scales fit as well.
        def square(node):
            made = [n for n in e.graph.node if node.input[1] in n.output]
            dims = e.tensor(made[0].input[0]).dims if made and made[0].op_type == "DequantizeLinear" else ()
            return len(dims) >= 2 and dims[0] == dims[1] and set(dims[2:]) <= set(dims[2:])

        dequantize = e.producer(e.first(op_type, square).input[1])
        attribute = next(a for a in dequantize.attribute if a.name == "axis")
        attribute.i = 1 - attribute.i

    change.__name__ = f"other_axis_{op_type}"
    return change


def axis_of_other_size(e):
    dequantize = e.weight_of("Conv")
    next(a for a in dequantize.attribute if a.name == "axis").i = 2


def blocks(e):
    e.weight_of("MatMul").attribute.append(helper.make_attribute("block_size", 16))


def integers_moved(e):
    quantize = e.quantizer_of("MatMul")
    reader = e.readers(quantize.output[0])[0]
    moved = e.before(reader, "Transpose", [quantize.output[0]])
    reader.input[0] = moved


def integers_leave(e):
    quantize = e.quantizer_of("MatMul")
    e.graph.output.append(
        helper.make_tensor_value_info(quantize.output[0], TensorProto.INT8, ["a", "b", "c"])
    )


def other_grid(e):
    quantize = e.quantizer_of("MatMul")
    e.readers(quantize.output[0])[0].input[1] = e.constant(np.float32(0.123))


def dequantized_gelu(e):
    dequantize = e.readers(e.quantizer_of("MatMul").output[0])[0]
    e.graph.node.insert(
        list(e.graph.node).index(dequantize) + 1,
        helper.make_node("Gelu", [dequantize.output[0]], ["new/out"], name="new_gelu"),
    )


def dequantized_leaves(e):
    dequantize = e.readers(e.quantizer_of("MatMul").output[0])[0]
    e.graph.output.append(
        helper.make_tensor_value_info(dequantize.output[0], TensorProto.FLOAT, ["a", "b", "c"])
    )


def quantized_bias(e):
    node = e.first("Add", lambda n: e.is_constant(n.input[1]) and e.tensor(n.input[1]).dims)
    index = 1
    size = e.tensor(node.input[index]).dims[-1]
    integers = e.constant(np.ones(size, np.int8), "bias_integers")
    grid = [e.constant(np.float32(0.1), "bias_scale"), e.constant(np.int8(0), "bias_zero")]
    node.input[index] = e.before(node, "DequantizeLinear", [integers, *grid])


def quantized_conv_bias(e):
    node = e.first("Conv", lambda n: len(n.input) > 2)
    integers = e.constant(np.ones(e.tensor(node.input[2]).dims[0], np.int8), "bias_integers")
    grid = [e.constant(np.float32(0.1), "bias_scale"), e.constant(np.int8(0), "bias_zero")]
    node.input[2] = e.before(node, "DequantizeLinear", [integers, *grid])


def computed_weight(e):
    dequantize = e.weight_of("Conv")
    floats = e.constant(numpy_helper.to_array(e.tensor(dequantize.input[0])).astype(np.float32), "floats")
    tanh = e.before(dequantize, "Tanh", [floats], name="tanh")
    dequantize.input[0] = e.before(
        dequantize, "QuantizeLinear", [tanh, dequantize.input[1], dequantize.input[2]], name="q", axis=0
    )


def cycle(e):
    node = e.first("Gelu")
    node.input[0] = node.output[0]


BROKEN = [
    ("onnx", cycle),
    ("opset", old_opset),
    ("opset", new_opset),
    ("opset", own_domain),
    ("operator", unknown_operator),
    ("operator", second_output),
    ("type", root_of_integers),
    ("type", double_input),
    ("type", double_inside),
    ("typing", mixed_types),
    ("typing", mixed_quantizer),
    ("profile", unnamed_axis),
    ("profile", unknown_axis),
    ("dynamic", shape_from_data),
    ("dynamic", axes_from_shape),
    ("conv", one_dimension),
    ("signed", unsigned),
    ("signed", sixteen_bits),
    ("zero point", zero_point_of_weight),
    ("zero point", no_zero_point),
    ("zero point", zero_points_of_other_shape),
    ("scale", change_scale(0.0)),
    ("scale", change_scale(-0.01)),
    ("scale", change_scale(np.inf)),
    ("scale", change_scale(np.nan)),
    ("scale", scale_from_data),
    ("scale", scales_of_activation),
    ("axis", other_axis("MatMul")),
    ("axis", other_axis("Conv")),
    ("axis", axis_of_other_size),
    ("axis", blocks),
    ("pair", integers_moved),
    ("pair", integers_leave),
    ("pair", other_grid),
    ("placement", dequantized_gelu),
    ("placement", dequantized_leaves),
    ("bias", quantized_bias),
    ("bias", quantized_conv_bias),
    ("weight", computed_weight),
]
