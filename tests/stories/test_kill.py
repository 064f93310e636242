"""`kill -9` under load: every answered call has its receipt, every call that had begun has one, none has two."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Callable

import httpx

from gateway.simulator import Simulator
from tests.stories.house import DONE, NO_TLS, House, at, body_of, config_of, until
from tests.stories.test_stop import receipts

KILLS = 20
CALLERS = 8


class Load:
    """Callers of one run of the gateway, half of them streaming, and what they were answered."""

    def __init__(self, url: str) -> None:
        self.asked = 0
        self.begun: set[str] = set()  # ids of answers whose head came
        self.whole: set[str] = set()  # ids of answers that came whole
        self._url = f"{url}/v1/chat/completions"

    async def run(self, client: httpx.AsyncClient, seed: int) -> None:
        """Asks until the gateway is gone."""
        draw = random.Random(seed)
        while True:
            stream = draw.random() < 0.5
            tokens = draw.randint(1, 30)
            body = body_of(f"{seed} {self.asked}", stream=stream, max_tokens=tokens, min_tokens=tokens)
            self.asked += 1
            try:
                async with client.stream("POST", self._url, json=body) as response:
                    assert response.status_code == 200
                    id = response.headers["x-request-id"]
                    self.begun.add(id)
                    text = "".join([piece async for piece in response.aiter_text()])
            except httpx.TransportError:
                return
            assert text.endswith(f"data: {DONE}\n\n") if stream else json.loads(text)["usage"]
            self.whole.add(id)


async def test_twenty_kills_under_load_lose_no_receipt_and_make_none_twice(build: Callable[[], House]) -> None:
    draw = random.Random(20_26)
    async with (
        Simulator(ttft_s=0.005, tpot_s=0.001) as provider,
        httpx.AsyncClient(timeout=10, verify=NO_TLS) as client,
    ):
        house = build()
        house.write(config_of({"only": at(provider)}, on_failure={"attempts": 1}))
        whole: set[str] = set()
        begun: set[str] = set()
        asked = reached = died = 0
        for kill in range(KILLS):
            await asyncio.to_thread(house.start)
            provider.reset()
            load = Load(house.url)
            callers = [asyncio.create_task(load.run(client, 1000 * kill + caller)) for caller in range(CALLERS)]
            await until(lambda load=load: len(load.whole) >= CALLERS)
            await asyncio.sleep(draw.uniform(0.0, 0.2))
            house.kill()
            await asyncio.gather(*callers)
            whole |= load.whole
            begun |= load.begun
            asked += load.asked
            reached += len(provider.requests)
            died += len(load.begun - load.whole)
        await asyncio.to_thread(house.start)  # books what the last kill left open
        assert await asyncio.to_thread(house.stop) == 0
        booked = receipts(house)
    assert len(whole) >= KILLS * CALLERS
    assert died > 0  # streams that the kills cut
    assert begun <= booked.keys()
    # each call was one call: what reached the provider has a receipt, and there are no more receipts than calls
    assert reached <= len(booked) <= asked
    for id in whole:
        receipt = booked[id]
        assert (receipt["status"], receipt.get("reason"), receipt.get("estimated", False)) == (200, None, False)
        assert receipt["cost_nano"] > 0
    unfinished = {id: receipt for id, receipt in booked.items() if receipt.get("reason") is not None}
    assert len(unfinished) > KILLS
    for receipt in unfinished.values():
        assert (receipt["status"], receipt["reason"], receipt["estimated"]) == (499, "interrupted", True)
        assert receipt["tokens"]["fresh_input"] > 0
        assert receipt["cost_nano"] > 0
    assert not (house.folder / "journal" / "rejected").exists()
