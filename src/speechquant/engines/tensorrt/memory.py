"""Memory on the device and page-locked memory on the host, kept for the next tensor of about that size."""

from __future__ import annotations

import ctypes
import weakref
from collections import defaultdict
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from speechquant.engines.tensorrt.libraries import Cuda

__all__ = ["DeviceTensor", "Memory"]

_SMALLEST = 256


class DeviceTensor:
    """A tensor on the device. Its memory goes to the next one when nobody holds it any more."""

    def __init__(self, address: int, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        self.address, self.shape, self.dtype = address, shape, dtype

    @property
    def nbytes(self) -> int:
        """Size of the content."""
        return int(np.prod(self.shape, dtype=np.int64)) * self.dtype.itemsize


class _Pool:
    """Pieces of memory in powers of two; a piece of at least one byte also where none is needed."""

    def __init__(self, allocate: Callable[[int], int], free: Callable[[int], None]) -> None:
        self._allocate, self._free = allocate, free
        self._unused: dict[int, list[int]] = defaultdict(list)
        self._all: list[int] = []

    def take(self, size: int) -> tuple[int, int]:
        """Address and true size of a piece of at least `size` bytes."""
        whole = max(_SMALLEST, 1 << (max(size, 1) - 1).bit_length())
        if not self._unused[whole]:
            self._unused[whole].append(self._allocate(whole))
            self._all += self._unused[whole]
        return self._unused[whole].pop(), whole

    def give_back(self, address: int, whole: int) -> None:
        self._unused[whole].append(address)

    def close(self) -> None:
        self._unused.clear()
        while self._all:
            self._free(self._all.pop())


class Memory:
    """Tensors on the device, and copies to and from them in the order of one stream.

    Work that is given to the stream later comes later, so device memory may be used again at once; page-locked
    memory only after the stream was waited for.
    """

    def __init__(self, cuda: Cuda, stream: Any) -> None:
        self._cuda, self._stream = cuda, stream
        self._device = _Pool(cuda.allocate, cuda.free)
        self._host = _Pool(cuda.allocate_host, cuda.free_host)
        self._in_flight: list[tuple[int, int]] = []

    def empty(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> DeviceTensor:
        """A tensor of any content."""
        size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
        address, whole = self._device.take(size)
        tensor = DeviceTensor(address, shape, dtype)
        weakref.finalize(tensor, self._device.give_back, address, whole)
        return tensor

    def upload(self, array: NDArray[Any]) -> DeviceTensor:
        """Begin to copy an array to the device."""
        tensor = self.empty(array.shape, array.dtype)
        if tensor.nbytes:
            pinned = self._pinned(tensor)
            pinned[...] = array
            self._cuda.to_device(tensor.address, pinned.ctypes.data, tensor.nbytes, self._stream)
        return tensor

    def download(self, tensor: DeviceTensor) -> NDArray[Any]:
        """The content of a tensor, after everything that was given to the stream before."""
        pinned = self._pinned(tensor)
        if tensor.nbytes:
            self._cuda.to_host(pinned.ctypes.data, tensor.address, tensor.nbytes, self._stream)
        self._cuda.synchronize(self._stream)
        array = pinned.copy()
        while self._in_flight:
            self._host.give_back(*self._in_flight.pop())
        return array

    def close(self) -> None:
        """Give everything back."""
        self._cuda.synchronize(self._stream)
        self._device.close()
        self._host.close()

    def _pinned(self, tensor: DeviceTensor) -> NDArray[Any]:
        """An array over page-locked memory that nothing in the stream uses."""
        address, whole = self._host.take(tensor.nbytes)
        self._in_flight.append((address, whole))
        raw = (ctypes.c_ubyte * tensor.nbytes).from_address(address)
        array: NDArray[Any] = np.ndarray(tensor.shape, tensor.dtype, buffer=memoryview(raw))
        return array
