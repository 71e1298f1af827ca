"""TensorRT and the CUDA runtime, imported when they are used, with one-line errors."""

from __future__ import annotations

import logging
from typing import Any

from speechquant.errors import EngineError, MissingExtraError

__all__ = ["Cuda", "import_tensorrt", "make_logger"]

_LOG = logging.getLogger("speechquant.engines.tensorrt")
_OLDEST = 10


def import_tensorrt() -> Any:
    """The `tensorrt` module.

    Raises:
        EngineError: it is older than version 10.
        MissingExtraError: it is not installed.
    """
    try:
        import tensorrt  # type: ignore[import-not-found,unused-ignore]
    except ImportError as error:
        raise MissingExtraError(
            f"TensorRT is not installed ({error}); pip install tensorrt cuda-python"
        ) from error
    version = str(tensorrt.__version__)
    if int(version.split(".", 1)[0]) < _OLDEST:
        raise EngineError(f"TensorRT {version} is too old; pip install 'tensorrt>={_OLDEST}'")
    return tensorrt


def make_logger(trt: Any) -> Any:
    """A TensorRT logger that writes to Python's `logging` under `speechquant.engines.tensorrt`."""
    severity = trt.ILogger.Severity
    levels = {
        severity.INTERNAL_ERROR: logging.CRITICAL,
        severity.ERROR: logging.ERROR,
        severity.WARNING: logging.WARNING,
        severity.INFO: logging.INFO,
        severity.VERBOSE: logging.DEBUG,
    }

    class Logger(trt.ILogger):  # type: ignore[misc]
        """`last_error` is the newest message of a failure: TensorRT's calls only return that they failed."""

        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.last_error = ""

        def log(self, severity: Any, msg: str) -> None:
            """Called by TensorRT, from any thread."""
            level = levels.get(severity, logging.INFO)
            if level >= logging.ERROR:
                self.last_error = " ".join(msg.split())
            _LOG.log(level, "%s", msg)

    return Logger()


class Cuda:
    """The few calls of the CUDA runtime that running an engine takes, through NVIDIA's `cuda-python`.

    That package is small; PyTorch, which could do the same, is a gigabyte that running needs for nothing
    else.
    """

    def __init__(self) -> None:
        try:
            from cuda.bindings import runtime  # type: ignore[import-not-found,unused-ignore]
        except ImportError as error:
            raise MissingExtraError(
                f"the CUDA bindings are not installed ({error}); pip install cuda-python"
            ) from error
        self._runtime: Any = runtime
        if self._call(runtime.cudaGetDeviceCount) < 1:
            raise EngineError("there is no NVIDIA GPU; run this artifact on another engine")

    def stream(self) -> Any:
        """A new stream; `int()` of it is the handle that TensorRT takes."""
        return self._call(self._runtime.cudaStreamCreate)

    def synchronize(self, stream: Any) -> None:
        """Wait for everything that was given to a stream."""
        self._call(self._runtime.cudaStreamSynchronize, stream)

    def destroy(self, stream: Any) -> None:
        """Give a stream back."""
        self._call(self._runtime.cudaStreamDestroy, stream)

    def allocate(self, size: int) -> int:
        """The address of new device memory of `size` bytes."""
        return int(self._call(self._runtime.cudaMalloc, size))

    def free(self, address: int) -> None:
        """Give device memory back."""
        self._call(self._runtime.cudaFree, address)

    def allocate_host(self, size: int) -> int:
        """The address of new page-locked host memory, which the GPU copies from and to by itself."""
        return int(self._call(self._runtime.cudaMallocHost, size))

    def free_host(self, address: int) -> None:
        """Give page-locked memory back."""
        self._call(self._runtime.cudaFreeHost, address)

    def to_device(self, device: int, host: int, size: int, stream: Any) -> None:
        """Copy bytes in the order of a stream."""
        kind = self._runtime.cudaMemcpyKind.cudaMemcpyHostToDevice
        self._call(self._runtime.cudaMemcpyAsync, device, host, size, kind, stream)

    def to_host(self, host: int, device: int, size: int, stream: Any) -> None:
        """Copy bytes in the order of a stream."""
        kind = self._runtime.cudaMemcpyKind.cudaMemcpyDeviceToHost
        self._call(self._runtime.cudaMemcpyAsync, host, device, size, kind, stream)

    def _call(self, function: Any, *arguments: Any) -> Any:
        """The result of a call, which cuda-python returns behind an error code."""
        code, *results = function(*arguments)
        if code != self._runtime.cudaError_t.cudaSuccess:
            _, text = self._runtime.cudaGetErrorString(code)
            reason = text.decode() if isinstance(text, bytes) else str(text)
            raise EngineError(f"CUDA: {function.__name__} failed: {reason}")
        return results[0] if results else None
