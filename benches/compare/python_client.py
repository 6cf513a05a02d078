"""A client in Python's `websockets`: opens, says one text, hears it again, closes; so many times, so many at a time.

    python_client.py, with PORT, TIMES, AT_ONCE and SECRET in the environment

A token is made for every opening, as a test would. `LEAN=1` leaves out what most do not turn off: the offer to compress,
and the look for a proxy.
"""

import asyncio
import os
import time

import jwt
from websockets.asyncio.client import connect

PORT, TIMES, AT_ONCE = (int(os.environ[name]) for name in ("PORT", "TIMES", "AT_ONCE"))
SECRET = os.environ["SECRET"]
TEXT = "x" * 64
OPTIONS = {"compression": None, "proxy": None} if os.environ.get("LEAN") == "1" else {}


async def cycle() -> None:
    claims = {"user_id": "alice", "username": "Alice", "exp": int(time.time()) + 3600}
    token = jwt.encode(claims, SECRET, algorithm="HS256")
    async with connect(f"ws://127.0.0.1:{PORT}/ws/{token}", **OPTIONS) as socket:
        await socket.recv()
        await socket.send(TEXT)
        answer = await socket.recv()
        assert answer == f"Echo: {TEXT}", answer


async def worker(times: int) -> None:
    for _ in range(times):
        await cycle()


async def main() -> None:
    await asyncio.gather(*(worker(TIMES // AT_ONCE) for _ in range(AT_ONCE)))


asyncio.run(main())
