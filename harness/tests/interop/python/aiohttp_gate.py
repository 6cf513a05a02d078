"""An aiohttp application whose session is a JWT in a cookie, as a site with pages of its own has it.

`python aiohttp_gate.py [--port N]`; the HS256 key is in JWT_SECRET_KEY. A cookie is sent by the browser from whatever
page asks, so that the origin is compared as well.
"""

import argparse
import asyncio
import os
import signal
import sys
from typing import Any

import jwt
from aiohttp import WSMsgType, web

COOKIE = "session"
ORIGINS = frozenset({"https://shop.example"})
MAX_MESSAGE_BYTES = 64 * 1024
SECRET = web.AppKey("secret", str)


def authenticate(request: web.Request) -> dict[str, Any]:
    """The claims of the session, or the answer that refuses it."""
    # Clients that are no browsers send no Origin.
    if any(origin not in ORIGINS for origin in request.headers.getall("Origin", [])):
        raise web.HTTPForbidden(text="Foreign origin\n")
    try:
        return jwt.decode(request.cookies.get(COOKIE, ""), request.app[SECRET], algorithms=["HS256"],
                          options={"require": ["exp", "sub"]})
    except jwt.InvalidTokenError:
        raise web.HTTPUnauthorized(text="Log in\n", headers={"WWW-Authenticate": "Cookie"}) from None


async def live(request: web.Request) -> web.WebSocketResponse:
    claims = authenticate(request)
    ws = web.WebSocketResponse(max_msg_size=MAX_MESSAGE_BYTES)
    await ws.prepare(request)
    await ws.send_json({"type": "welcome", "user": claims["sub"]})
    async for message in ws:
        if message.type == WSMsgType.TEXT:
            await ws.send_json({"type": "echo", "text": message.data, "user": claims["sub"]})
    return ws


async def health(_: web.Request) -> web.Response:
    return web.json_response({"status": "ok"})


async def main(port: int, secret: str) -> None:
    app = web.Application()
    app[SECRET] = secret
    app.add_routes([web.get("/live", live), web.get("/health", health)])
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=2)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", port)
    await site.start()
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    print(f"listening on ws://127.0.0.1:{runner.addresses[0][1]}/live", flush=True)
    await ended.wait()
    await runner.cleanup()


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
