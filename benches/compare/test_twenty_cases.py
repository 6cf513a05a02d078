"""What a FastAPI project would write by itself: twenty cases against its server, started once by a fixture.

    SECRET=... python -m pytest -q test_twenty_cases.py
"""

import asyncio
import base64
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import jwt
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

SECRET = os.environ["SECRET"]


@pytest.fixture(scope="session")
def port():
    command = [sys.executable, str(Path(__file__).with_name("uvicorn_server.py"))]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    # The socket listens when this is said; who connects earlier than uvicorn accepts waits in the backlog.
    yield int(server.stdout.readline())
    server.terminate()
    server.wait()


def claims(**changes):
    made = {"user_id": "alice", "username": "Alice", "exp": int(time.time()) + 3600} | changes
    return {name: value for name, value in made.items() if value is not None}


def token(secret=SECRET, algorithm="HS256", **changes):
    return jwt.encode(claims(**changes), secret, algorithm=algorithm)


def unsigned(header):
    def part(value):
        return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()

    return f"{part(header)}.{part(claims())}."


def edited(place):
    good = token().split(".")
    good[place] = ("A" if good[place][4] != "A" else "B").join([good[place][:4], good[place][5:]])
    return ".".join(good)


async def talk(port, carried, texts):
    async with connect(f"ws://127.0.0.1:{port}/ws/{carried}", proxy=None) as socket:
        assert json.loads(await socket.recv())["event"] == "connected"
        for text in texts:
            await socket.send(text)
        return [await asyncio.wait_for(socket.recv(), 5) for _ in texts]


@pytest.mark.parametrize("texts", [["hello"], [""], ["é\U0001f600"], ["x" * 1000], ["x" * 65000], [str(n) for n in range(100)]])
def test_admitted(port, texts):
    assert asyncio.run(talk(port, token(), texts)) == [f"Echo: {text}" for text in texts]


REFUSED = {
    "another secret": lambda: token(secret="another secret, of nobody who may open anything"),
    "expired": lambda: token(exp=int(time.time()) - 10),
    "without exp": lambda: token(exp=None),
    "not yet": lambda: token(nbf=int(time.time()) + 600),
    "HS384": lambda: token(algorithm="HS384"),
    "HS512": lambda: token(algorithm="HS512"),
    "none": lambda: unsigned({"alg": "none", "typ": "JWT"}),
    "None": lambda: unsigned({"alg": "None"}),
    "no signature": lambda: unsigned({"alg": "HS256"}),
    "header edited": lambda: edited(0),
    "claims edited": lambda: edited(1),
    "signature edited": lambda: edited(2),
    "garbage": lambda: "garbage",
    "two parts": lambda: token().rsplit(".", 1)[0],
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(port, name):
    with pytest.raises(InvalidStatus) as refused:
        asyncio.run(talk(port, REFUSED[name](), []))
    assert refused.value.response.status_code in (401, 403)
