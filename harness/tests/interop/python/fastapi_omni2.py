"""omni2: a role in the token decides, and an auth service is asked first when there is one."""

import logging
import os
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any
from urllib.parse import quote

import httpx
import jwt
from fastapi import FastAPI, Header, HTTPException, Response, WebSocket, WebSocketDisconnect

from common import (
    ALGORITHM,
    NO_STORE,
    Credentials,
    bearer_token,
    check_password,
    create_app,
    issue_token,
    messages,
    refuse,
    required_secret,
    send_json,
    serve,
)

SECRET_KEY = required_secret("JWT_SECRET_KEY")
# Without it the tokens are verified here.
AUTH_SERVICE_URL = os.environ.get("AUTH_SERVICE_URL", "").rstrip("/")
TOKEN_LIFETIME = 3600
ALLOWED_ROLES = ("admin", "developer", "dba")
MCPS = [
    {"mcp_id": "database", "status": "healthy"},
    {"mcp_id": "filesystem", "status": "healthy"},
]

logger = logging.getLogger("omni2")


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    async with httpx.AsyncClient(timeout=5.0, trust_env=False) as client:
        app.state.http = client
        yield


app = create_app("omni2", lifespan=lifespan)


def verify_locally(token: str) -> dict[str, Any] | None:
    try:
        return jwt.decode(token, SECRET_KEY, algorithms=[ALGORITHM],
                          options={"require": ["exp"]})
    except jwt.InvalidTokenError:
        return None


async def verify_token(token: str) -> dict[str, Any] | None:
    if not AUTH_SERVICE_URL:
        return verify_locally(token)
    if not (token.isascii() and token.isprintable()):
        return None  # cannot be sent in a header
    try:
        answer = await app.state.http.post(
            f"{AUTH_SERVICE_URL}/auth/validate",
            headers={"Authorization": f"Bearer {token}"},
        )
    except httpx.TransportError as error:
        logger.warning("auth service unreachable (%s), verifying locally",
                       type(error).__name__)
        return verify_locally(token)
    if answer.status_code != 200:
        return None
    try:
        user = answer.json()
    except ValueError:
        logger.warning("auth service answered 200 without JSON")
        return None
    return user if isinstance(user, dict) else None


def identity_of(user: dict[str, Any]) -> str:
    return str(user.get("email") or user.get("sub") or "unknown")


@app.post("/auth/api/v1/auth/login")
def login(credentials: Credentials, response: Response) -> dict[str, Any]:
    if not check_password(credentials.username, credentials.password):
        raise HTTPException(401, "Incorrect username or password",
                            {"WWW-Authenticate": "Bearer"})
    response.headers.update(NO_STORE)
    claims = {
        "sub": credentials.username,
        "email": f"{credentials.username}@example.com",
        "role": "developer",
    }
    return {
        "access_token": issue_token(claims, SECRET_KEY, TOKEN_LIFETIME),
        "refresh_token": secrets.token_urlsafe(32),
        "token_type": "bearer",
        "expires_in": TOKEN_LIFETIME,
    }


@app.post("/auth/validate")
async def validate(
    response: Response, authorization: Annotated[str | None, Header()] = None
) -> dict[str, Any]:
    token = bearer_token(authorization)
    user = verify_locally(token) if token else None
    if user is None:
        raise HTTPException(401, "Invalid or expired token", {"WWW-Authenticate": "Bearer"})
    answer = {key: str(user.get(key) or "").encode("utf-8", "replace").decode()
              for key in ("sub", "email")}
    answer["role"] = str(user.get("role", "read_only")).encode("utf-8", "replace").decode()
    response.headers.update({
        "X-User-Id": quote(answer["sub"], safe="@ "),
        "X-User-Username": quote(answer["email"] or answer["sub"], safe="@ "),
        "X-User-Role": quote(answer["role"], safe=" "),
        **NO_STORE,
    })
    return answer


@app.websocket("/ws/mcp-status")
async def mcp_status(ws: WebSocket, token: str | None = None) -> None:
    if not token:
        await refuse(ws, 1008, "Authentication required: No token provided")
        return
    user = await verify_token(token)
    if user is None:
        logger.info("refused: invalid or expired token")
        await refuse(ws, 1008, "Authentication failed: Invalid or expired token")
        return
    identity, role = identity_of(user), user.get("role", "read_only")
    if not isinstance(role, str) or role not in ALLOWED_ROLES:
        logger.info("refused: %r has role %r", identity, role)
        await refuse(ws, 1008, f"Insufficient permissions: Role '{role}' not authorized")
        return

    await ws.accept()
    logger.info("connected: %r as %s", identity, role)
    try:
        await send_json(ws, {"type": "initial_status", "mcps": MCPS})
        async for text in messages(ws):
            if text == "ping":
                await send_json(ws, {"type": "pong"})
            else:
                await send_json(ws, {"type": "error", "error": "Unknown message"})
    except WebSocketDisconnect:
        pass
    finally:
        logger.info("disconnected: %r", identity)


if __name__ == "__main__":
    serve(app, "/ws/mcp-status?token={token}")
