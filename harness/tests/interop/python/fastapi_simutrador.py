"""simutrador: the token is a query parameter or a header, refusals are 4000 to 4003."""

import logging
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any

import jwt
from fastapi import Header, HTTPException, Response, WebSocket, WebSocketDisconnect

from common import (
    ALGORITHM,
    NO_STORE,
    Credentials,
    bearer_token,
    check_password,
    create_app,
    issue_token,
    messages,
    parse_object,
    refuse,
    required_secret,
    send_json,
    serve,
)

SECRET_KEY = required_secret("JWT_SECRET_KEY")
TOKEN_LIFETIME = 3600

logger = logging.getLogger("simutrador")
app = create_app("SimuTrador")


class Refused(Exception):
    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


@dataclass(frozen=True)
class UserContext:
    user_id: str
    plan: str
    rate_limits: dict[str, float]
    authenticated_at: datetime


contexts: dict[WebSocket, UserContext] = {}


def authenticate(token: str | None) -> UserContext:
    if not token:
        raise Refused(4001, "Authentication required")
    try:
        claims = jwt.decode(token, SECRET_KEY, algorithms=[ALGORITHM],
                            options={"require": ["exp", "user_id"]})
    except jwt.ExpiredSignatureError:
        raise Refused(4003, "Token expired") from None
    except jwt.InvalidTokenError:
        raise Refused(4002, "Invalid token") from None
    except Exception:
        logger.exception("authentication failed")
        raise Refused(4000, "Authentication error") from None

    user_id = claims["user_id"]
    plan = claims.get("plan", "free")
    rate_limits = claims.get("rate_limits", {})
    if not (isinstance(user_id, str) and user_id and isinstance(plan, str)
            and is_limits(rate_limits)):
        raise Refused(4002, "Invalid token")
    return UserContext(user_id, plan, rate_limits, datetime.now(UTC))


def is_limits(value: Any) -> bool:
    return isinstance(value, dict) and all(
        isinstance(limit, (int, float)) and not isinstance(limit, bool)
        for limit in value.values()
    )


@app.post("/auth/token")
def token(credentials: Credentials, response: Response) -> dict[str, Any]:
    if not check_password(credentials.username, credentials.password):
        raise HTTPException(401, "Incorrect username or password",
                            {"WWW-Authenticate": "Bearer"})
    response.headers.update(NO_STORE)
    claims = {
        "user_id": credentials.username,
        "plan": "free",
        "rate_limits": {"messages_per_minute": 6000},
    }
    return {
        "access_token": issue_token(claims, SECRET_KEY, TOKEN_LIFETIME),
        "token_type": "bearer",
        "expires_in": TOKEN_LIFETIME,
    }


async def handle(ws: WebSocket, text: str | None) -> None:
    context = contexts[ws]
    match parse_object(text):
        case {"type": "ping"}:
            await send_json(ws, {"type": "pong"})
        case {"type": "echo", "payload": payload}:
            await send_json(ws, {
                "type": "echo",
                "payload": payload,
                "user_id": context.user_id,
                "plan": context.plan,
            })
        case None:
            await send_json(ws, {"type": "error", "error": "Expected a JSON object"})
        case _:
            await send_json(ws, {"type": "error", "error": "Unknown message type"})


@app.websocket("/ws/simulate")
async def simulate(
    ws: WebSocket,
    token: str | None = None,
    authorization: Annotated[str | None, Header()] = None,
) -> None:
    try:
        context = authenticate(token or bearer_token(authorization))
    except Refused as refused:
        logger.info("refused: code=%d reason=%r", refused.code, refused.reason)
        await refuse(ws, refused.code, refused.reason)
        return

    await ws.accept()
    contexts[ws] = context
    logger.info("connected: user_id=%r plan=%r", context.user_id, context.plan)
    try:
        async for text in messages(ws):
            await handle(ws, text)
    except WebSocketDisconnect:
        pass
    finally:
        del contexts[ws]
        logger.info("disconnected: user_id=%r", context.user_id)


if __name__ == "__main__":
    serve(app, "/ws/simulate?token={token}")
