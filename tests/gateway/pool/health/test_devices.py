"""What GPUs tell, and to whose replicas it is told."""

from __future__ import annotations

import asyncio
import sys
from contextlib import suppress
from types import SimpleNamespace

import pytest

from gateway.pool.health.devices import Device, Nvml, follow, troubles
from gateway.pool.states import Phase, ReplicaView
from tests.patience import until

HOT = ("hardware thermal slowdown",)


def told(before: Device | None, now: Device) -> list[tuple[str, bool]]:
    known = {} if before is None else {before.gpu: before}
    return [(why, is_error) for _, why, is_error in troubles(known, [now])]


@pytest.mark.parametrize(
    ("before", "now", "says"),
    [
        (Device("a", 0), Device("a", 0), []),
        (Device("a", 0, errors=1), Device("a", 0, errors=3), [("2 uncorrected memory errors", True)]),
        (None, Device("a", 0, errors=3), []),
        (Device("a", 0), Device("a", 0, xids=(79,)), [("Xid 79", True)]),
        (Device("a", 0), Device("a", 0, xids=(31, 48)), [("Xid 31", False), ("Xid 48", True)]),
        (None, Device("a", 0, slowed=HOT, celsius=93), [("slowed down: hardware thermal slowdown, at 93 °C", False)]),
        (Device("a", 0, slowed=HOT), Device("a", 0, slowed=HOT), []),
        (Device("a", 0, slowed=HOT), Device("a", 0, celsius=60), [("at full clocks again, at 60 °C", False)]),
    ],
    ids=["well", "memory", "before we came", "off the bus", "a program's own", "hot", "still hot", "cool"],
)
def test_what_is_new_is_told(before: Device | None, now: Device, says: list[tuple[str, bool]]) -> None:
    assert told(before, now) == says


class Boards:
    def __init__(self, *looks: list[Device]) -> None:
        self.looks = list(looks)

    def read(self) -> list[Device]:
        return self.looks.pop(0) if len(self.looks) > 1 else self.looks[0]


class Control:
    def __init__(self) -> None:
        self.drained: list[str] = []

    def status(self) -> list[ReplicaView]:
        return [
            ReplicaView("lab", name, Phase.READY, "", 0.0, 1, "", gpus, None, None, 0, 0, "", False)
            for name, gpus in (("0", ("0", "1")), ("1", ("GPU-c",)))
        ]

    async def drain(self, pool: str, replica: str) -> None:
        self.drained.append(replica)


class Heard:
    def __init__(self) -> None:
        self.all: list[tuple[str, str, str]] = []

    def tell(self, pool: str, replica: str, what: str, why: str = "", **facts: object) -> None:
        self.all.append((replica, what, why))


@pytest.mark.parametrize("drains", [True, False])
async def test_trouble_is_told_of_the_replicas_on_a_gpu_and_errors_drain_them_where_that_is_wanted(
    drains: bool,
) -> None:
    well = [Device("GPU-a", 0), Device("GPU-b", 1), Device("GPU-c", 2), Device("GPU-d", 3)]
    ill = [Device("GPU-a", 0), Device("GPU-b", 1, slowed=HOT), Device("GPU-c", 2, xids=(79,)), Device("GPU-d", 3, 5)]
    control, heard = Control(), Heard()
    task = asyncio.create_task(
        follow(Boards(well, ill, ill), control, heard, lambda pool: drains, every_s=0.001)  # type: ignore[arg-type]
    )
    await until(lambda: len(heard.all) >= 2)
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    assert heard.all[:2] == [
        ("0", "device", "slowed down: hardware thermal slowdown, at 0 °C"),
        ("1", "device", "Xid 79"),
    ]
    assert set(control.drained) == ({"1"} if drains else set())


def test_a_machine_without_a_driver_tells_nothing() -> None:
    devices = Nvml()
    first = devices.read()
    assert devices.read() == first
    assert all(isinstance(each, Device) for each in first)


def test_the_drivers_own_words_are_read_as_they_are_meant(monkeypatch: pytest.MonkeyPatch) -> None:
    """Against a stand-in of nvidia-ml-py's functions: there is no GPU where this runs."""

    class Failed(Exception): ...

    events = [SimpleNamespace(device="h1", eventData=79)]

    def wait(_: object, timeout_ms: int) -> SimpleNamespace:
        if not events:
            raise Failed
        return events.pop()

    def ecc(handle: str, kind: int, counter: int) -> int:
        if handle == "h1":
            raise Failed  # a small card has none
        return 2

    driver = SimpleNamespace(
        NVMLError=Failed,
        NVML_MEMORY_ERROR_TYPE_UNCORRECTED=1,
        NVML_VOLATILE_ECC=0,
        NVML_TEMPERATURE_GPU=0,
        nvmlEventTypeXidCriticalError=8,
        nvmlInit=lambda: None,
        nvmlDeviceGetCount=lambda: 2,
        nvmlDeviceGetHandleByIndex=lambda index: f"h{index}",
        nvmlDeviceGetUUID=lambda handle: f"GPU-{handle}".encode(),
        nvmlEventSetCreate=lambda: "set",
        nvmlDeviceRegisterEvents=lambda *_: None,
        nvmlEventSetWait_v2=wait,
        nvmlDeviceGetTotalEccErrors=ecc,
        nvmlDeviceGetCurrentClocksThrottleReasons=lambda handle: 0x48 if handle == "h0" else 0x4,
        nvmlDeviceGetTemperature=lambda *_: 91,
    )
    monkeypatch.setitem(sys.modules, "pynvml", driver)
    assert Nvml().read() == [
        Device("GPU-h0", 0, 2, (), ("hardware slowdown", "hardware thermal slowdown"), 91),
        Device("GPU-h1", 1, 0, (79,), (), 91),
    ]
