"""The simplest gate that `websockets` makes: everybody is upgraded, and the first message tells the token.

`python websockets_first_message.py [--port N]`; the HS256 key is in JWT_SECRET_KEY.
"""

import argparse
import asyncio
import json
import os
import signal
import sys

import jwt
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

SECONDS_TO_LOG_IN = 2.0


def user_of(message: str | bytes, secret: str) -> str | None:
    """Who is logged in by this message, if anybody is."""
    try:
        token = json.loads(message)["token"]
        return jwt.decode(token, secret, algorithms=["HS256"], options={"require": ["exp", "sub"]})["sub"]
    except (jwt.InvalidTokenError, ValueError, KeyError, TypeError, RecursionError):
        return None


def handler(secret: str):
    async def handle(connection: ServerConnection) -> None:
        try:
            async with asyncio.timeout(SECONDS_TO_LOG_IN):
                user = user_of(await connection.recv(), secret)
        except TimeoutError:
            await connection.close(1008, "Log in first")
            return
        except ConnectionClosed:
            return
        if user is None:
            await connection.close(1008, "Invalid token")
            return
        await connection.send(json.dumps({"type": "welcome", "user": user}))
        async for message in connection:
            await connection.send(message)

    return handle


async def main(port: int, secret: str) -> None:
    async with serve(handler(secret), "127.0.0.1", port, close_timeout=2) as server:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, server.close)
        print(f"listening on ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/", flush=True)
        await server.wait_closed()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=int(os.environ.get("PORT", "0")),
                        help="0, the default, takes a free port; also PORT")
    arguments = parser.parse_args()
    secret = os.environ.get("JWT_SECRET_KEY")
    if not secret:
        print("JWT_SECRET_KEY is not set: it is the HS256 key of the tokens", file=sys.stderr)
        raise SystemExit(2)
    asyncio.run(main(arguments.port, secret))
