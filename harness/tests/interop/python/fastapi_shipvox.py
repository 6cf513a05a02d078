"""shipvox: the token is a query parameter, every JSON object is broadcast to all."""

import hmac
import logging
import os
import secrets
import time
import uuid
from typing import Annotated, Any

import jwt
from fastapi import Depends, HTTPException, Response, WebSocket, WebSocketDisconnect
from fastapi.security import OAuth2PasswordRequestForm

from common import (
    ALGORITHM,
    NO_STORE,
    USERNAME,
    broadcast,
    check_password,
    create_app,
    issue_token,
    messages,
    parse_object,
    refuse,
    send_json,
    serve,
)

SECRET_KEY = os.environ.get("JWT_SECRET_KEY") or secrets.token_urlsafe(48)
TOKEN_LIFETIME = int(os.environ.get("ACCESS_TOKEN_EXPIRE_MINUTES", "30")) * 60
PRODUCTION = os.environ.get("ENVIRONMENT") == "production"
# Never expires, so it lives no longer than this process, and never in production.
TEST_TOKEN = None if PRODUCTION else (
    os.environ.get("WS_TEST_TOKEN")
    or jwt.encode({"sub": USERNAME, "jti": uuid.uuid4().hex}, SECRET_KEY, ALGORITHM)
)

logger = logging.getLogger("shipvox")
app = create_app("ShipVox")
clients: set[WebSocket] = set()


def verify_token(token: str) -> dict[str, Any] | None:
    if TEST_TOKEN and hmac.compare_digest(token.encode("utf-8", "surrogatepass"),
                                          TEST_TOKEN.encode()):
        return {"sub": USERNAME}
    try:
        return jwt.decode(token, SECRET_KEY, algorithms=[ALGORITHM],
                          options={"require": ["exp"]})
    except jwt.InvalidTokenError:
        return None


@app.post("/token")
def login(form: Annotated[OAuth2PasswordRequestForm, Depends()],
          response: Response) -> dict[str, Any]:
    if not check_password(form.username, form.password):
        raise HTTPException(401, "Incorrect username or password",
                            {"WWW-Authenticate": "Bearer"})
    response.headers.update(NO_STORE)
    return {
        "access_token": issue_token({"sub": form.username}, SECRET_KEY, TOKEN_LIFETIME),
        "token_type": "bearer",
        "expires_in": TOKEN_LIFETIME,
    }


@app.get("/test-token")
async def test_token(response: Response) -> dict[str, str]:
    if not TEST_TOKEN:
        raise HTTPException(404, "Not Found")
    response.headers.update(NO_STORE)
    return {"test_token": TEST_TOKEN, "note": "For development only."}


@app.websocket("/ws")
async def relay(ws: WebSocket, token: str | None = None) -> None:
    if not token:
        await refuse(ws, 1008, "Missing authentication token")
        return
    claims = verify_token(token)
    if claims is None:
        logger.info("refused: invalid or expired token")
        await refuse(ws, 1008, "Invalid or expired token")
        return
    user = claims.get("sub")
    if not user:
        logger.info("refused: no subject")
        await refuse(ws, 1008, "Invalid token payload")
        return

    await ws.accept()
    clients.add(ws)
    logger.info("connected: %r", user)
    try:
        async for text in messages(ws):
            message = parse_object(text)
            if message is None:
                await send_json(ws, {"type": "error", "error": "Expected a JSON object"})
                continue
            await broadcast(clients, {
                **message,
                "user": user,
                "timestamp": time.time(),
                "requestId": str(uuid.uuid4()),
            })
    except WebSocketDisconnect:
        pass
    finally:
        clients.discard(ws)
        logger.info("disconnected: %r", user)


if __name__ == "__main__":
    serve(app, "/ws?token={token}")
