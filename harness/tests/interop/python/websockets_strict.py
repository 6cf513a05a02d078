"""A chat gate as the documentation of its libraries asks for it: websockets, and joserfc for an RFC 9068 access token.

`python websockets_strict.py [--port N]`; the HS256 key is in JWT_SECRET_KEY. Unlike the other servers here it copies
nobody's habits: what it says no to, it says no to before the upgrade, by a status and a challenge.
"""

import argparse
import asyncio
import json
import logging
import math
import os
import re
import signal
import sys
import time
from http import HTTPStatus
from typing import Any, NoReturn
from urllib.parse import urlsplit

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import OctKey
from joserfc.jws import JWSRegistry
from websockets.asyncio.server import Request, Response, ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.typing import Origin, Subprotocol

ISSUER = "https://login.chat.example"
AUDIENCE = "https://chat.example/ws"
SCOPE = "chat"
ROLES = frozenset({"member", "moderator"})
SUBPROTOCOL = Subprotocol("chat.v1")
# None stands for clients that are no browsers and send no Origin.
ORIGINS: list[Origin | None] = [
    Origin("https://chat.example"),
    Origin("https://beta.chat.example:8443"),
    None,
]
PATH = "/chat"
MAX_MESSAGE_BYTES = 64 * 1024
LONGEST_SESSION = 24 * 3600.0

logger = logging.getLogger("chat")


# --- The token --------------------------------------------------------------------------------

registry = JWSRegistry(
    algorithms=["HS256"],
    # RFC 7515, section 4: header parameters that are not understood are ignored. `crit` is checked all the same.
    strict_check_header=False,
)
claims_registry = jwt.JWTClaimsRegistry(
    leeway=0,
    iss={"essential": True, "value": ISSUER},
    aud={"essential": True, "value": AUDIENCE},
    exp={"essential": True},
    iat={"essential": True},
    sub={"essential": True},
    jti={"essential": True},
    client_id={"essential": True},
)
# RFC 6750, section 2.1, and RFC 9110, section 11.4: the scheme in any case, spaces, and a token68.
BEARER = re.compile(r"(?i:bearer) +(.*)")
TOKEN68 = re.compile(r"[A-Za-z0-9\-._~+/]+=*")


class Refused(Exception):
    """`challenge` goes into WWW-Authenticate, after the word Bearer."""

    def __init__(self, status: HTTPStatus, challenge: str) -> None:
        super().__init__(challenge)
        self.status = status
        self.challenge = challenge


INVALID_TOKEN = Refused(HTTPStatus.UNAUTHORIZED, 'realm="chat", error="invalid_token"')


def bearer_token(values: list[str]) -> str:
    if len(values) > 1:
        raise Refused(HTTPStatus.BAD_REQUEST, 'realm="chat", error="invalid_request"')
    match = BEARER.fullmatch(values[0]) if values else None
    if match is None:
        # RFC 6750, section 3.1: no error code where no bearer token was given.
        raise Refused(HTTPStatus.UNAUTHORIZED, 'realm="chat"')
    if not TOKEN68.fullmatch(match[1]):
        raise INVALID_TOKEN
    return match[1]


def verify(token: str, key: OctKey) -> dict[str, Any]:
    """The claims of a token that may come in."""
    try:
        decoded = jwt.decode(token, key, registry=registry)
        claims_registry.validate(decoded.claims)
    except JoseError:
        raise INVALID_TOKEN from None
    except Exception:
        # A header of the wrong shape also raises TypeError and the like, and deep nesting RecursionError.
        logger.info("unreadable token", exc_info=True)
        raise INVALID_TOKEN from None

    # RFC 9068, section 4, and RFC 7515, section 4.1.9: a media type, "application/" may be left out.
    typ = str(decoded.header.get("typ")).lower()
    if typ not in ("at+jwt", "application/at+jwt"):
        raise INVALID_TOKEN

    claims = decoded.claims
    scope = claims.get("scope")
    if not isinstance(scope, str) or SCOPE not in scope.split(" "):
        raise Refused(HTTPStatus.FORBIDDEN, f'realm="chat", error="insufficient_scope", scope="{SCOPE}"')
    role = claims.get("role")
    if not isinstance(role, str) or role not in ROLES:
        raise Refused(HTTPStatus.FORBIDDEN, 'realm="chat", error="insufficient_scope"')
    return claims


# --- The handshake ----------------------------------------------------------------------------


class Gate:
    """Looks at each request before the handshake; keeps who was let in for the handler."""

    def __init__(self, key: OctKey) -> None:
        self.key = key

    def process_request(self, connection: ServerConnection, request: Request) -> Response | None:
        try:
            path = urlsplit(request.path).path
        except ValueError:
            return connection.respond(HTTPStatus.BAD_REQUEST, "Bad request target\n")
        if path == "/health":
            response = connection.respond(HTTPStatus.OK, json.dumps({"status": "ok"}))
            del response.headers["Content-Type"]
            response.headers["Content-Type"] = "application/json"
            return response
        if path != PATH:
            return connection.respond(HTTPStatus.NOT_FOUND, "Not found\n")
        # websockets leaves Host to its caller.
        if len(request.headers.get_all("Host")) != 1:
            return connection.respond(HTTPStatus.BAD_REQUEST, "Exactly one Host is needed\n")
        try:
            token = bearer_token(request.headers.get_all("Authorization"))
            connection.claims = verify(token, self.key)
        except Refused as refused:
            response = connection.respond(refused.status, f"{refused.status.phrase}\n")
            response.headers["WWW-Authenticate"] = f"Bearer {refused.challenge}"
            return response
        return None


def select_subprotocol(_: ServerConnection, offered: list[Subprotocol]) -> Subprotocol | None:
    """chat.v1 to whom offers it; without one, the same messages."""
    return SUBPROTOCOL if SUBPROTOCOL in offered else None


# --- The messages -----------------------------------------------------------------------------


def _no_constant(literal: str) -> NoReturn:
    raise ValueError(f"{literal} is not JSON")


def answer(claims: dict[str, Any], message: str | bytes) -> dict[str, Any]:
    if isinstance(message, bytes):
        return {"type": "error", "error": "Text messages only"}
    try:
        value = json.loads(message, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        return {"type": "error", "error": "Not JSON"}
    match value:
        case {"type": "echo", "payload": str(payload)}:
            return {"type": "echo", "payload": payload, "user": claims["sub"]}
        case _:
            return {"type": "error", "error": "Unknown message"}


async def handler(connection: ServerConnection) -> None:
    claims = connection.claims
    await connection.send(json.dumps({"type": "welcome", "user": claims["sub"]}))
    # An int of any length is a legal exp; a float is not.
    remaining = min(claims["exp"], math.ceil(time.time() + LONGEST_SESSION)) - time.time()
    try:
        async with asyncio.timeout(remaining):
            async for message in connection:
                await connection.send(json.dumps(answer(claims, message)))
    except TimeoutError:
        await connection.close(3000, "Token expired")
    except ConnectionClosed:
        pass


# --- Start-up ---------------------------------------------------------------------------------


async def main(port: int, secret: str) -> None:
    gate = Gate(OctKey.import_key(secret))
    async with serve(
        handler,
        "127.0.0.1",
        port,
        origins=ORIGINS,
        select_subprotocol=select_subprotocol,
        process_request=gate.process_request,
        server_header=None,
        max_size=MAX_MESSAGE_BYTES,
        close_timeout=2,
    ) as server:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, server.close)
        port = server.sockets[0].getsockname()[1]
        print(f"listening on ws://127.0.0.1:{port}{PATH}", flush=True)
        await server.wait_closed()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=int(os.environ.get("PORT", "0")),
                        help="0, the default, takes a free port; also PORT")
    arguments = parser.parse_args()
    secret = os.environ.get("JWT_SECRET_KEY", "")
    if len(secret.encode()) < 32:
        print("JWT_SECRET_KEY needs 32 bytes or more (RFC 7518, section 3.2)", file=sys.stderr)
        raise SystemExit(2)
    asyncio.run(main(arguments.port, secret))
