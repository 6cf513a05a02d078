"""personal-assistant: the token is a path segment, every refusal is 1008 `Invalid token`."""

import logging
import os
from typing import Any

import jwt
from fastapi import HTTPException, Response, WebSocket, WebSocketDisconnect

from common import (
    ALGORITHM,
    NO_STORE,
    Credentials,
    check_password,
    create_app,
    issue_token,
    messages,
    refuse,
    send_json,
    serve,
)

SECRET_KEY = os.environ.get("SECRET_KEY") or "dev-secret-key"
TOKEN_LIFETIME = 3600

logger = logging.getLogger("personal_assistant")
app = create_app("Super Brain API")


def verify_token(token: str) -> dict[str, Any] | None:
    try:
        claims = jwt.decode(token, SECRET_KEY, algorithms=[ALGORITHM],
                            options={"require": ["exp", "user_id"]})
    except jwt.InvalidTokenError:
        return None
    user_id = claims["user_id"]
    if type(user_id) not in (str, int) or user_id == "":
        return None
    return claims


@app.post("/api/auth/login")
def login(credentials: Credentials, response: Response) -> dict[str, Any]:
    if not check_password(credentials.username, credentials.password):
        raise HTTPException(401, "Incorrect username or password",
                            {"WWW-Authenticate": "Bearer"})
    response.headers.update(NO_STORE)
    claims = {"user_id": "1", "username": credentials.username}
    return {
        "access_token": issue_token(claims, SECRET_KEY, TOKEN_LIFETIME),
        "token_type": "bearer",
        "expires_in": TOKEN_LIFETIME,
    }


@app.websocket("/ws/{token}")
async def chat(ws: WebSocket, token: str) -> None:
    claims = verify_token(token)
    if claims is None:
        logger.info("refused: invalid token")
        await refuse(ws, 1008, "Invalid token")
        return

    user_id = claims["user_id"]
    await ws.accept()
    try:
        await send_json(ws, {
            "event": "connected",
            "user_id": user_id,
            "message": "Connected to Super Brain",
        })
        async for text in messages(ws):
            if text is None:
                await send_json(ws, {"event": "error", "message": "Text messages only"})
            else:
                await ws.send_text(f"Echo: {text}")
    except WebSocketDisconnect:
        pass
    finally:
        logger.info("disconnected: user_id=%r", user_id)


if __name__ == "__main__":
    serve(app, "/ws/{token}")
