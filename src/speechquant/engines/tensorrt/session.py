"""One engine on the GPU."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from speechquant.engines.tensorrt.libraries import Cuda, import_tensorrt, make_logger
from speechquant.engines.tensorrt.memory import DeviceTensor, Memory
from speechquant.errors import ArtifactError, EngineError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = ["Session", "load_engine"]

_NO_REASON = "no reason given"


def load_engine(path: Path) -> tuple[Any, Any, Any]:
    """A deserialized engine, with the runtime and the logger that it must not outlive.

    Raises:
        ArtifactError: the file is missing.
        EngineError: TensorRT refuses it, most often because another version or GPU built it.
        MissingExtraError: TensorRT is not installed.
    """
    trt = import_tensorrt()
    if not path.is_file():
        raise ArtifactError(f"{path} is missing; build the engine again")
    logger = make_logger(trt)
    runtime = trt.Runtime(logger)
    engine = runtime.deserialize_cuda_engine(path.read_bytes())
    if engine is None:
        raise EngineError(
            f"TensorRT {trt.__version__} cannot load {path}: {logger.last_error or _NO_REASON}; engines run on "
            "the version and the type of GPU that built them, build it again here"
        )
    return engine, runtime, logger


class Session:
    """An execution context with a CUDA stream and memory of its own. Not for several threads at once.

    Implements `engines.recognizers.Graph`; its values are `DeviceTensor` and belong to this session.

    Raises:
        ArtifactError: the file is missing.
        EngineError: TensorRT refuses it, or there is no GPU.
        MissingExtraError: TensorRT or the CUDA bindings are not installed.
    """

    def __init__(self, path: Path) -> None:
        trt = import_tensorrt()
        self._path = path
        self._cuda = Cuda()
        self._engine, self._runtime, self._logger = load_engine(path)
        self._context = self._engine.create_execution_context()
        if self._context is None:
            raise EngineError(f"{path}: no execution context: {self._logger.last_error or _NO_REASON}")
        self._stream = self._cuda.stream()
        self._memory = Memory(self._cuda, self._stream)
        self._profile = 0
        names = [self._engine.get_tensor_name(i) for i in range(self._engine.num_io_tensors)]
        modes = {name: self._engine.get_tensor_mode(name) for name in names}
        self.inputs = tuple(name for name in names if modes[name] == trt.TensorIOMode.INPUT)
        self.outputs = tuple(name for name in names if modes[name] == trt.TensorIOMode.OUTPUT)
        self._dtypes = {name: np.dtype(trt.nptype(self._engine.get_tensor_dtype(name))) for name in names}
        self.limits: list[dict[str, tuple[tuple[int, ...], ...]]] = [
            {
                name: tuple(tuple(shape) for shape in self._engine.get_tensor_profile_shape(name, index))
                for name in self.inputs
            }
            for index in range(self._engine.num_optimization_profiles)
        ]
        """For every profile and input: its smallest, typical and largest shape."""

    def put(self, array: NDArray[Any]) -> DeviceTensor:
        """An array on the device."""
        return self._memory.upload(np.ascontiguousarray(array))

    def run(self, values: Mapping[str, DeviceTensor]) -> dict[str, DeviceTensor]:
        """Give one run to the GPU; the outputs by name can be fed on before it is done.

        Raises:
            EngineError: shapes beyond all profiles, a type that the engine does not take, or the GPU fails.
        """
        self._choose_profile({name: values[name].shape for name in self.inputs})
        for name in self.inputs:
            tensor = values[name]
            if tensor.dtype != self._dtypes[name]:
                raise EngineError(f"{self._path}: {name} is {tensor.dtype}, not {self._dtypes[name]}")
            self._demand(self._context.set_input_shape(name, tensor.shape), f"shape {tensor.shape} of {name}")
            self._bind(name, tensor)
        self._infer_shapes()
        results = {}
        for name in self.outputs:
            shape = tuple(self._context.get_tensor_shape(name))
            results[name] = self._memory.empty(shape, self._dtypes[name])
            self._bind(name, results[name])
        self._demand(self._context.execute_async_v3(int(self._stream)), "the run")
        return results

    def get(self, value: DeviceTensor) -> NDArray[Any]:
        """A value as an array, once the GPU has computed it."""
        return self._memory.download(value)

    def close(self) -> None:
        """Give the GPU's memory back."""
        self._memory.close()
        self._cuda.destroy(self._stream)

    def _infer_shapes(self) -> None:
        try:
            missing = self._context.infer_shapes()
        except RuntimeError as error:
            raise EngineError(
                f"{self._path}: TensorRT refuses the shapes: {self._logger.last_error or error}"
            ) from error
        self._demand(not missing, f"a run without {', '.join(missing)}")

    def _bind(self, name: str, tensor: DeviceTensor) -> None:
        self._demand(self._context.set_tensor_address(name, tensor.address), f"the memory of {name}")

    def _demand(self, done: bool, what: str) -> None:  # noqa: FBT001 - what TensorRT's calls return
        if not done:
            raise EngineError(
                f"{self._path}: TensorRT refuses {what}: {self._logger.last_error or _NO_REASON}"
            )

    def _choose_profile(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        """Activate the first profile that all shapes fit."""
        unfit = [
            [name for name, (low, _, high) in limits.items() if not _within(shapes[name], low, high)]
            for limits in self.limits
        ]
        if all(unfit):
            name = unfit[-1][0]
            allowed = ", ".join(f"{limits[name][0]} to {limits[name][2]}" for limits in self.limits)
            raise EngineError(
                f"{self._path.name} was built for other lengths: {name} has shape {shapes[name]}, allowed are "
                f"{allowed}; build it again with other --seconds, or transcribe in windows"
            )
        index = next(i for i, names in enumerate(unfit) if not names)
        if index != self._profile:
            chosen = self._context.set_optimization_profile_async(index, int(self._stream))
            self._demand(chosen, f"profile {index}")
            self._profile = index


def _within(shape: tuple[int, ...], low: tuple[int, ...], high: tuple[int, ...]) -> bool:
    return len(shape) == len(low) and all(a <= size <= b for a, size, b in zip(low, shape, high, strict=True))
