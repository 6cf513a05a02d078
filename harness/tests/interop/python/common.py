"""What the four FastAPI servers share: start-up, refusals, and JSON over a socket.

Every server is started as `python <server>.py [--port N] [--accept-first] [--server uvicorn|hypercorn]`.
"""

import argparse
import asyncio
import json
import math
import os
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any, NoReturn

import bcrypt
import hypercorn
import hypercorn.asyncio
import jwt
import uvicorn
from fastapi import FastAPI, Request, WebSocket, WebSocketDisconnect
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel

ALGORITHM = "HS256"
SEND_TIMEOUT = 1.0

# The only account: user / password.
USERNAME = "user"
PASSWORD_HASH = b"$2b$10$Nn5VAmGGTjGDiAeXXGoddONfUXyRj28UNa1m6bBL/c/aHB4aa/Hiu"
# Compared against when the user is unknown, so that the answer takes as long.
DUMMY_HASH = b"$2b$10$M0YGtdPyGGdJ4wcrXTJ8SO8TfjOXclunlg3QIRGRDiLKI0B7pTqJW"

NO_STORE = {"Cache-Control": "no-store"}


def fail(message: str) -> NoReturn:
    print(message, file=sys.stderr)
    raise SystemExit(2)


def required_secret(name: str) -> str:
    secret = os.environ.get(name)
    if not secret:
        fail(f"{name} is not set: it is the HS256 key of the tokens")
    return secret


# --- Application ------------------------------------------------------------------------------


def create_app(title: str, **kwargs: Any) -> FastAPI:
    app = FastAPI(title=title, **kwargs)

    @app.exception_handler(RequestValidationError)
    async def invalid_request(_: Request, exc: RequestValidationError) -> JSONResponse:
        # FastAPI's own answer repeats the input, and the input may be a password.
        fields = [".".join(map(str, error["loc"])) for error in exc.errors()]
        detail = [ascii(field)[1:-1] for field in fields]
        return JSONResponse({"detail": "Invalid request", "fields": detail}, 422)

    @app.get("/health")
    async def health() -> dict[str, str]:
        return {
            "status": "ok",
            "timestamp": datetime.now(UTC).isoformat(),
            "service": title,
        }

    return app


class Credentials(BaseModel):
    username: str
    password: str


def check_password(username: str, password: str) -> bool:
    """Slow on purpose: call it from a `def` endpoint, which FastAPI runs in a thread."""
    known = username == USERNAME
    secret = password.encode("utf-8", "surrogatepass")
    # bcrypt reads 72 bytes and no more; a longer password cannot be the right one.
    matches = bcrypt.checkpw(secret[:72], PASSWORD_HASH if known else DUMMY_HASH)
    return known and matches and len(secret) <= 72


def issue_token(claims: dict[str, Any], secret: str, lifetime: int) -> str:
    now = int(time.time())
    return jwt.encode({**claims, "iat": now, "exp": now + lifetime}, secret, ALGORITHM)


def bearer_token(authorization: str | None) -> str | None:
    scheme, _, token = (authorization or "").partition(" ")
    return token.strip() or None if scheme.lower() == "bearer" else None


# --- WebSocket --------------------------------------------------------------------------------


async def refuse(ws: WebSocket, code: int, reason: str) -> None:
    """Close before `accept()`, or right after it with --accept-first."""
    # A close frame has room for 123 bytes of reason.
    reason = reason.encode("utf-8", "replace")[:123].decode("utf-8", "ignore")
    try:
        if ws.app.state.accept_first:
            await ws.accept()
        await ws.close(code=code, reason=reason)
    except WebSocketDisconnect:
        pass


async def messages(ws: WebSocket) -> AsyncIterator[str | None]:
    """Each text message until the client leaves; None stands for a binary message."""
    while True:
        message = await ws.receive()
        if message["type"] == "websocket.disconnect":
            return
        yield message.get("text")


def _finite(literal: str) -> float:
    number = float(literal)
    if not math.isfinite(number):
        raise ValueError("number out of range")
    return number


def _no_constant(literal: str) -> NoReturn:
    raise ValueError(f"{literal} is not JSON")


def parse_object(text: str | None) -> dict[str, Any] | None:
    """A JSON object, or None for everything else."""
    if text is None:
        return None
    try:
        value = json.loads(text, parse_float=_finite, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


async def send_json(ws: WebSocket, value: dict[str, Any]) -> None:
    # Not `ws.send_json`: it writes a lone surrogate as it is, and that is not UTF-8.
    await ws.send_text(json.dumps(value, separators=(",", ":")))


background: set[asyncio.Task[None]] = set()  # asyncio keeps no reference of its own


async def broadcast(clients: set[WebSocket], value: dict[str, Any]) -> None:
    """Send to every client; one that is gone is removed, one that does not read is closed."""
    text = json.dumps(value, separators=(",", ":"))

    async def deliver(ws: WebSocket) -> None:
        try:
            async with asyncio.timeout(SEND_TIMEOUT):
                await ws.send_text(text)
        except TimeoutError:
            clients.discard(ws)
            # The sender has waited long enough.
            task = asyncio.create_task(drop(ws))
            background.add(task)
            task.add_done_callback(background.discard)
        except (WebSocketDisconnect, RuntimeError):
            clients.discard(ws)

    await asyncio.gather(*(deliver(ws) for ws in list(clients)))


async def drop(ws: WebSocket) -> None:
    try:
        async with asyncio.timeout(SEND_TIMEOUT):
            await ws.close(code=1013, reason="Too slow")
    except (WebSocketDisconnect, RuntimeError, TimeoutError):
        pass


# --- Start-up ---------------------------------------------------------------------------------


class AnnouncingServer(uvicorn.Server):
    """Says where it listens, once it does."""

    announcement = ""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            print(self.announcement, flush=True)


def serve(app: FastAPI, route: str) -> None:
    parser = argparse.ArgumentParser(description=app.title)
    parser.add_argument("--port", type=int, default=int(os.environ.get("PORT", "0")),
                        help="0, the default, takes a free port; also PORT")
    parser.add_argument("--accept-first", action="store_true",
                        default=os.environ.get("ACCEPT_FIRST", "") not in ("", "0"),
                        help="accept, then close with the code; also ACCEPT_FIRST=1")
    parser.add_argument("--server", choices=["uvicorn", "hypercorn"], default="uvicorn",
                        help="the ASGI server that runs the application")
    args = parser.parse_args()
    app.state.accept_first = args.accept_first

    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind(("127.0.0.1", args.port))
    except OSError as error:
        fail(f"cannot listen on 127.0.0.1:{args.port}: {error.strerror}")

    announcement = f"listening on ws://127.0.0.1:{sock.getsockname()[1]}{route}"
    if args.server == "hypercorn":
        asyncio.run(serve_with_hypercorn(app, sock, announcement))
    else:
        serve_with_uvicorn(app, sock, announcement)


def serve_with_uvicorn(app: FastAPI, sock: socket.socket, announcement: str) -> None:
    # The access log would print the tokens, which are in the URL.
    config = uvicorn.Config(app, log_level="warning", access_log=False,
                            timeout_graceful_shutdown=2)
    server = AnnouncingServer(config)
    server.announcement = announcement
    asyncio.run(server.serve(sockets=[sock]))


async def serve_with_hypercorn(app: FastAPI, sock: socket.socket, announcement: str) -> None:
    # It has no access log unless it is given one.
    config = hypercorn.Config()
    config.bind = [f"fd://{sock.fileno()}"]
    config.graceful_timeout = 2
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    # hypercorn does not say when it is ready; until then, connections wait in the queue of the socket.
    sock.listen(128)
    print(announcement, flush=True)
    await hypercorn.asyncio.serve(app, config, shutdown_trigger=ended.wait)
