"""The part of `cuda.bindings.runtime` that the project uses, on host memory.

Work given to a stream waits until the stream is synchronised, so that memory which is read too early or used
again too early gives wrong results here as it would on a GPU.
"""

from __future__ import annotations

import ctypes
import enum
from collections import defaultdict
from types import ModuleType


class cudaError_t(enum.IntEnum):
    cudaSuccess = 0
    cudaErrorInvalidValue = 1
    cudaErrorMemoryAllocation = 2
    cudaErrorNoDevice = 100


class cudaMemcpyKind(enum.IntEnum):
    cudaMemcpyHostToHost = 0
    cudaMemcpyHostToDevice = 1
    cudaMemcpyDeviceToHost = 2
    cudaMemcpyDeviceToDevice = 3
    cudaMemcpyDefault = 4


class cudaStream_t:
    def __init__(self, number):
        self._number = number

    def __int__(self):
        return self._number


class Card:
    """The state of the GPU; tests read it, and may break it (`devices`, `memory`)."""

    def __init__(self):
        self.devices, self.memory = 1, 2**40
        self.device, self.pinned = {}, {}
        self.queues = defaultdict(list)
        self.streams = set()
        self.copies = []

    def work(self, stream, job):
        assert int(stream) in self.streams, "work for a stream that does not exist"
        self.queues[int(stream)].append(job)

    def inside(self, where, address, size):
        return any(start <= address and address + size <= start + len(raw) for start, raw in where.items())

    def read(self, address, size):
        assert self.inside(self.device, address, max(size, 1)), "no device memory there"
        return ctypes.string_at(address, size)

    def write(self, address, content):
        assert self.inside(self.device, address, max(len(content), 1)), "no device memory there"
        ctypes.memmove(address, content, len(content))


OK, WRONG = (cudaError_t.cudaSuccess,), (cudaError_t.cudaErrorInvalidValue,)


class Calls:
    """The functions of the runtime; each returns an error code and then its results."""

    def __init__(self, card):
        self._card = card

    def cudaGetDeviceCount(self):
        return (*OK, self._card.devices) if self._card.devices else (cudaError_t.cudaErrorNoDevice, 0)

    def cudaGetErrorString(self, error):
        return *OK, f"fake: {error.name}".encode()

    def cudaStreamCreate(self):
        number = 1000 + len(self._card.queues)
        self._card.streams.add(number)
        self._card.queues[number] = []
        return *OK, cudaStream_t(number)

    def cudaStreamDestroy(self, stream):
        self._card.streams.remove(int(stream))
        return OK

    def cudaStreamSynchronize(self, stream):
        queue = self._card.queues[int(stream)]
        while queue:
            queue.pop(0)()
        return OK

    def cudaMalloc(self, size):
        return self._allocate(self._card.device, size)

    def cudaMallocHost(self, size):
        return self._allocate(self._card.pinned, size)

    def cudaFree(self, devPtr):
        return OK if self._card.device.pop(devPtr, None) is not None else WRONG

    def cudaFreeHost(self, ptr):
        return OK if self._card.pinned.pop(ptr, None) is not None else WRONG

    def cudaMemcpyAsync(self, dst, src, count, kind, stream):
        card, up = self._card, kind == cudaMemcpyKind.cudaMemcpyHostToDevice
        device, host = (dst, src) if up else (src, dst)
        if not card.inside(card.device, device, count) or not card.inside(card.pinned, host, count):
            return WRONG
        card.copies.append((kind, count))
        card.work(stream, lambda: ctypes.memmove(dst, src, count))
        return OK

    def _allocate(self, where, size):
        if size > self._card.memory:
            return cudaError_t.cudaErrorMemoryAllocation, 0
        # Garbage, so that nobody relies on zeros.
        raw = ctypes.create_string_buffer(b"\x7f" * size, size)
        where[ctypes.addressof(raw)] = raw
        return *OK, ctypes.addressof(raw)


def modules(card):
    """What `from cuda.bindings import runtime` needs in `sys.modules`."""
    runtime, calls = ModuleType("cuda.bindings.runtime"), Calls(card)
    for name in (name for name in dir(calls) if name.startswith("cuda")):
        setattr(runtime, name, getattr(calls, name))
    for kind in (cudaError_t, cudaMemcpyKind, cudaStream_t):
        setattr(runtime, kind.__name__, kind)
    cuda, bindings = ModuleType("cuda"), ModuleType("cuda.bindings")
    cuda.bindings, bindings.runtime = bindings, runtime
    return {"cuda": cuda, "cuda.bindings": bindings, "cuda.bindings.runtime": runtime}
