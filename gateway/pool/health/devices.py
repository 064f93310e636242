"""What NVML tells of the GPUs under launched replicas: uncorrected memory errors, Xid errors, heat.

Read through `nvidia-ml-py`, imported where it is first wanted; where there is none, or no driver, nothing is told.
Constants and calls: NVIDIA's NVML API reference (docs.nvidia.com/deploy/nvml-api, 2026-11).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, Protocol

import msgspec

from gateway.pool.states import Control, Events, UnknownReplica

EVERY_S: Final = 10.0

# Why clocks are lower than they could be, as far as it is trouble: `nvmlClocksEventReason…`.
_SLOWED: Final[Mapping[int, str]] = {
    0x08: "hardware slowdown",
    0x20: "software thermal slowdown",
    0x40: "hardware thermal slowdown",
    0x80: "power brake",
}

# Xid errors that an application's own fault raises: of a kernel that reads where it may not (13, 31, 43, 45); they
# say nothing of the board (docs.nvidia.com/deploy/xid-errors, 2026-11).
_APPLICATIONS_OWN: Final = frozenset({13, 31, 43, 45})


class Device(msgspec.Struct, frozen=True):
    """One GPU at one moment. `errors` counts uncorrected memory errors since the driver was loaded; `xids` are new."""

    gpu: str  # its UUID
    index: int
    errors: int = 0
    xids: tuple[int, ...] = ()
    slowed: tuple[str, ...] = ()
    celsius: int = 0


class Devices(Protocol):
    """Where the facts are from."""

    def read(self) -> list[Device]:
        """Returns every GPU of this machine; may block, does not raise for a driver's trouble."""
        ...


class Nvml:
    """The driver's own word. Not for the loop's thread: a call takes milliseconds, and more on a board in trouble."""

    def __init__(self) -> None:
        self._nvml: Any = None
        self._handles: list[tuple[int, str, Any]] = []
        self._events: Any = None
        self._absent = False

    def read(self) -> list[Device]:
        if self._nvml is None and not self._absent:
            self._open()
        if self._nvml is None:
            return []
        xids = self._xids()
        return [self._device(index, uuid, handle, xids.get(uuid, ())) for index, uuid, handle in self._handles]

    def _open(self) -> None:
        try:
            import pynvml
        except ImportError:
            self._absent = True
            return
        try:
            pynvml.nvmlInit()
            count = pynvml.nvmlDeviceGetCount()
            handles = [pynvml.nvmlDeviceGetHandleByIndex(index) for index in range(count)]
            self._handles = [(at, _text(pynvml.nvmlDeviceGetUUID(each)), each) for at, each in enumerate(handles)]
        except pynvml.NVMLError:
            self._absent = True
            return
        self._nvml = pynvml
        with contextlib.suppress(pynvml.NVMLError):  # not everywhere: some virtual GPUs and WSL have no events
            events = pynvml.nvmlEventSetCreate()
            for _, _, handle in self._handles:
                pynvml.nvmlDeviceRegisterEvents(handle, pynvml.nvmlEventTypeXidCriticalError, events)
            self._events = events

    def _device(self, index: int, uuid: str, handle: Any, xids: tuple[int, ...]) -> Device:
        nvml = self._nvml
        errors = self._asked(
            lambda: nvml.nvmlDeviceGetTotalEccErrors(
                handle, nvml.NVML_MEMORY_ERROR_TYPE_UNCORRECTED, nvml.NVML_VOLATILE_ECC
            )
        )
        reasons = self._asked(lambda: nvml.nvmlDeviceGetCurrentClocksThrottleReasons(handle))
        celsius = self._asked(lambda: nvml.nvmlDeviceGetTemperature(handle, nvml.NVML_TEMPERATURE_GPU))
        slowed = tuple(word for bit, word in _SLOWED.items() if reasons & bit)
        return Device(uuid, index, errors, xids, slowed, celsius)

    def _asked(self, ask: Callable[[], int]) -> int:
        """Returns what a board says, or 0 where it does not have such a thing (ECC on a small card)."""
        try:
            return int(ask())
        except self._nvml.NVMLError:
            return 0

    def _xids(self) -> dict[str, tuple[int, ...]]:
        """Returns the Xid errors since the last look, by GPU."""
        found: dict[str, tuple[int, ...]] = {}
        nvml = self._nvml
        for _ in range(64 if self._events is not None else 0):
            try:
                event = nvml.nvmlEventSetWait_v2(self._events, 0)
                uuid = _text(nvml.nvmlDeviceGetUUID(event.device))
            except nvml.NVMLError:  # a timeout: there is none left
                break
            found[uuid] = (*found.get(uuid, ()), int(event.eventData))
        return found


def troubles(before: Mapping[str, Device], now: Iterable[Device]) -> list[tuple[Device, str, bool]]:
    """Compares two looks: what is new on each GPU, in words, and whether it is an error of the board."""
    found: list[tuple[Device, str, bool]] = []
    for device in now:
        old = before.get(device.gpu) or Device(device.gpu, device.index, device.errors)  # older ones are not new
        if device.errors > old.errors:
            found.append((device, f"{device.errors - old.errors} uncorrected memory errors", True))
        found += [(device, f"Xid {xid}", xid not in _APPLICATIONS_OWN) for xid in device.xids]
        if device.slowed and device.slowed != old.slowed:
            found.append((device, f"slowed down: {', '.join(device.slowed)}, at {device.celsius} °C", False))
        elif old.slowed and not device.slowed:
            found.append((device, f"at full clocks again, at {device.celsius} °C", False))
    return found


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value


async def follow(
    devices: Devices, control: Control, events: Events, drains: Callable[[str], bool], every_s: float = EVERY_S
) -> None:
    """Tells of trouble with the GPUs of launched replicas, until it is cancelled; drains a pool's where it `drains`."""
    before: dict[str, Device] = {}
    while True:
        now = await asyncio.to_thread(devices.read)
        for device, why, is_error in troubles(before, now):
            for view in control.status():
                if device.gpu in view.gpus or str(device.index) in view.gpus:
                    events.tell(view.pool, view.name, "device", why, gpu=device.index)
                    if is_error and drains(view.pool):
                        with contextlib.suppress(UnknownReplica):
                            await control.drain(view.pool, view.name)
        before = {device.gpu: device for device in now}
        await asyncio.sleep(every_s)
