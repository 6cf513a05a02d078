"""The interface of `src/interface.rs` in FastAPI, served by uvicorn with uvloop, httptools and websockets (sans-I/O).

Its secret comes in `SECRET`, its port is the first line of stdout. Run by `compare servers --python PATH`.
"""

import asyncio
import json
import os
import socket
import time

import jwt
import uvicorn
from fastapi import FastAPI, WebSocket, WebSocketDisconnect

SECRET = os.environ["SECRET"]
app = FastAPI()


@app.websocket("/ws/{token}")
async def open_socket(socket: WebSocket, token: str) -> None:
    try:
        claims = jwt.decode(token, SECRET, algorithms=["HS256"], options={"require": ["exp"]})
    except jwt.InvalidTokenError:
        # Before `accept`, so that it is told by HTTP.
        await socket.send_denial_response(DENIED)
        return
    await socket.accept()
    greeting = {"event": "connected", "user_id": claims["user_id"], "username": claims["username"], "timestamp": time.time()}
    await socket.send_text(json.dumps(greeting))
    try:
        while True:
            await socket.send_text("Echo: " + await socket.receive_text())
    except WebSocketDisconnect:
        pass


if __name__ == "__main__":
    from fastapi.responses import JSONResponse

    DENIED = JSONResponse({"detail": "Could not validate credentials"}, status_code=401)
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", 0))
    # Who comes before uvicorn is ready waits.
    listener.listen(1024)
    print(listener.getsockname()[1], flush=True)
    config = uvicorn.Config(
        app, loop="uvloop", http="httptools", ws="websockets-sansio", backlog=1024, log_level="critical", access_log=False
    )
    with asyncio.Runner(loop_factory=config.get_loop_factory()) as runner:
        runner.run(uvicorn.Server(config).serve(sockets=[listener]))
