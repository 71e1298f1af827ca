"""Built engines of the fake `tensorrt` module, and what runs and describes them."""

# ruff: noqa: A002 - the names are those of the real bindings

from __future__ import annotations

import json

import numpy as np
import onnx
from fake_tensorrt_names import FROM_ORT, LayerInformationFormat, TensorIOMode, nptype, session_of


class IExecutionContext:
    __slots__ = ("_addresses", "_card", "_engine", "_profile", "_shapes")

    def __init__(self, engine, card):
        self._engine, self._card, self._profile = engine, card, 0
        self._shapes, self._addresses = {}, {}

    def set_optimization_profile_async(self, profile_index, stream_handle):
        self._profile, self._shapes = profile_index, {}
        return 0 <= profile_index < self._engine.num_optimization_profiles

    def set_input_shape(self, name, shape):
        low, _, high = self._engine.get_tensor_profile_shape(name, self._profile)
        fits = len(shape) == len(low) and all(a <= b <= c for a, b, c in zip(low, shape, high, strict=True))
        if fits:
            self._shapes[name] = tuple(shape)
        return fits

    def set_tensor_address(self, name, memory):
        assert isinstance(memory, int)
        self._addresses[name] = memory
        return memory != 0

    def infer_shapes(self):
        return [i.name for i in self._engine._session.get_inputs() if i.name not in self._shapes]

    def get_tensor_shape(self, name):
        return self._engine._shapes_for(self._shapes)[name]

    def execute_async_v3(self, stream_handle):
        engine, shapes, places = self._engine, dict(self._shapes), dict(self._addresses)

        def run():
            feeds = {}
            for name, shape in shapes.items():
                dtype = np.dtype(nptype(engine.get_tensor_dtype(name)))
                size = int(np.prod(shape)) * dtype.itemsize
                feeds[name] = np.frombuffer(self._card.read(places[name], size), dtype).reshape(shape)
            names = [o.name for o in engine._session.get_outputs()]
            for name, value in zip(names, engine._session.run(names, feeds), strict=True):
                self._card.write(places[name], np.ascontiguousarray(value).tobytes())

        self._card.work(stream_handle, run)
        return set(places) == set(engine._names)


class EngineInspector:
    __slots__ = ("_engine",)

    def __init__(self, engine):
        self._engine = engine

    def get_engine_information(self, format):
        assert format == LayerInformationFormat.JSON
        nodes = self._engine._model.graph.node
        if not self._engine._header["detailed"]:
            return json.dumps({"Layers": [node.name for node in nodes]})
        made = {name: node for node in nodes for name in node.output}
        layers = []
        for node in nodes:
            if node.op_type in {"Conv", "MatMul"}:
                fed = [made[name].op_type if name in made else "" for name in node.input[:2]]
                kind = "Int8" if "DequantizeLinear" in fed[0] else "Float"
                inputs = [{"Name": node.input[0], "Format/Datatype": f"Row major linear {kind} format"}]
                layers.append(
                    {
                        "Name": "gemm",
                        "Inputs": inputs,
                        "Metadata": f"[ONNX Layer: q][ONNX Layer: {node.name}]",
                    }
                )
        return json.dumps({"Layers": layers, "Bindings": self._engine._names})


class ICudaEngine:
    __slots__ = ("_card", "_header", "_known", "_model", "_names", "_session", "_types")

    def __init__(self, content, card):
        size = int.from_bytes(content[8:16], "little")
        self._card, self._known = card, {}
        self._header, graph = json.loads(content[16 : 16 + size]), content[16 + size :]
        self._model, self._session = onnx.load_from_string(graph), session_of(graph)
        io = [*self._session.get_inputs(), *self._session.get_outputs()]
        self._types = {value.name: FROM_ORT[value.type] for value in io}
        self._names = list(self._types)

    @property
    def num_io_tensors(self):
        return len(self._names)

    @property
    def num_optimization_profiles(self):
        return len(self._header["profiles"])

    def get_tensor_name(self, index):
        return self._names[index]

    def get_tensor_mode(self, name):
        inputs = {i.name for i in self._session.get_inputs()}
        return TensorIOMode.INPUT if name in inputs else TensorIOMode.OUTPUT

    def get_tensor_dtype(self, name):
        return self._types[name]

    def get_tensor_profile_shape(self, name, profile_index):
        static = next(i.shape for i in self._session.get_inputs() if i.name == name)
        return self._header["profiles"][profile_index].get(name, [tuple(static)] * 3)

    def create_execution_context(self):
        return IExecutionContext(self, self._card)

    def create_engine_inspector(self):
        return EngineInspector(self)

    def _shapes_for(self, shapes):
        key = tuple(sorted(shapes.items()))
        if key not in self._known:
            feeds = {name: np.zeros(shape, nptype(self._types[name])) for name, shape in shapes.items()}
            names = [o.name for o in self._session.get_outputs()]
            found = self._session.run(names, feeds)
            self._known[key] = {name: value.shape for name, value in zip(names, found, strict=True)}
        return self._known[key]
