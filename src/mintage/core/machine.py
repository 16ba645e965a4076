"""What this machine is and can do: cores, memory, the measured roof, and which dtype really is fast here.

bfloat16 without hardware support is up to hundreds of times slower than float32, so a dtype is never guessed from a
name: two matrix products of 20 ms each decide. Energy is read from RAPL where the kernel offers it, else estimated
from CPU seconds. It does not know what will be trained.
"""

from __future__ import annotations

import ctypes
import os
import platform
import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path

WATTS_PER_CORE = 8.0  # a stated assumption where nothing can be measured
RAPL = Path("/sys/class/powercap/intel-rapl:0/energy_uj")


@dataclass(frozen=True)
class Machine:
    """The measured machine.

    Attributes:
        cores: CPU cores this process may use.
        memory: Memory this process may use, bytes.
        device: ``cpu`` or ``cuda``.
        dtype: The faster training dtype, ``float32`` or ``bfloat16``.
        speed: Matrix speed at that dtype, GFLOP/s.
        speed32: Matrix speed at float32, GFLOP/s.
        name: Processor or accelerator name.
    """

    cores: int
    memory: int
    device: str
    dtype: str
    speed: float
    speed32: float
    name: str


def cores() -> int:
    """Cores available to this process (affinity and MINTAGE_THREADS respected)."""
    limit = os.environ.get("MINTAGE_THREADS", "")
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)
    return max(1, min(int(limit), available)) if limit.isdigit() else available


def memory() -> int:
    """Bytes of memory this process may use: physical memory, or its control group's limit if lower."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else 8 << 30
    limit = Path("/sys/fs/cgroup/memory.max")
    text = limit.read_text().strip() if limit.exists() else "max"
    return min(total, int(text)) if text.isdigit() else total


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def _roof(dtype_name: str, device: str, size: int = 768) -> float:
    """GFLOP/s of a square matrix product, best of a few runs."""
    import torch

    dtype = getattr(torch, dtype_name)
    a = torch.full((size, size), 0.5, dtype=dtype, device=device)
    best, stop = float("inf"), time.perf_counter() + 0.06
    for attempt in range(50):
        begin = time.perf_counter()
        b = a @ a
        if device == "cuda":
            torch.cuda.synchronize()
        took = time.perf_counter() - begin
        best = min(best, took) if attempt else best
        if time.perf_counter() > stop and attempt >= 2:
            break
        if attempt == 0 and took > 0.5:  # hopelessly slow: do not measure again
            best = took
            break
    del b
    return 2 * size**3 / best / 1e9


def keep_buffers() -> None:
    """Tell glibc to keep big freed buffers: pages given back and faulted in again cost about a twentieth of a step."""
    libc = ctypes.CDLL(None) if platform.libc_ver()[0] == "glibc" else None
    if libc is not None:
        libc.mallopt(-3, 32 << 20)  # M_MMAP_THRESHOLD, at its maximum
        libc.mallopt(-1, 1 << 30)  # M_TRIM_THRESHOLD


@cache
def measure() -> Machine:
    """Measure once a process; takes about 0.2 s."""
    import torch

    keep_buffers()
    threads = cores()
    torch.set_num_threads(threads)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    name = torch.cuda.get_device_name(0) if device == "cuda" else _processor()
    speed32, speed16 = _roof("float32", device), _roof("bfloat16", device)
    dtype = "bfloat16" if speed16 > 1.5 * speed32 else "float32"
    return Machine(threads, memory(), device, dtype, max(speed32, speed16) if dtype == "bfloat16" else speed32, speed32, name)


class Meter:
    """Energy from its making on: measured by RAPL where readable, else CPU seconds × WATTS_PER_CORE."""

    def __init__(self) -> None:
        self._start_cpu = self._cpu()
        self._start_rapl = self._rapl()

    @staticmethod
    def _cpu() -> float:
        times = os.times()
        return times.user + times.system + times.children_user + times.children_system

    @staticmethod
    def _rapl() -> float | None:
        try:
            return int(RAPL.read_text()) / 1e6
        except (OSError, ValueError):
            return None

    def read(self) -> tuple[float, str]:
        """Watt-hours so far, and ``measured`` or ``estimated``."""
        now = self._rapl()
        if now is not None and self._start_rapl is not None and now >= self._start_rapl:
            return (now - self._start_rapl) / 3600, "measured"
        return (self._cpu() - self._start_cpu) * WATTS_PER_CORE / 3600, "estimated"
