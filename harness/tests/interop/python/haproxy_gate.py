"""haproxy with `jwt_verify` in front of an echo server that knows nothing of tokens.

`python haproxy_gate.py --haproxy PROGRAM [--port N]`; the HS256 key is in JWT_SECRET_KEY. The rules are those of
haproxy's own guide to tokens, with what it leaves out added: `exp` and `nbf` must be there and be looked at.
"""

import argparse
import asyncio
import os
import signal
import socket
import sys
import tempfile

from websockets.asyncio.server import ServerConnection, serve

# `jwt_verify` gives 1 for a good signature. Of everything else there is haproxy's word for it: no rule, no check.
CONFIG = """
defaults
    mode http
    timeout connect 2s
    timeout client 60s
    timeout server 60s
    timeout tunnel 60s

frontend gate
    bind 127.0.0.1:{port}
    http-request set-var(txn.token) http_auth_bearer
    http-request set-var(txn.alg) var(txn.token),jwt_header_query('$.alg')
    http-request set-var(txn.exp) var(txn.token),jwt_payload_query('$.exp','int')
    http-request set-var(txn.nbf) var(txn.token),jwt_payload_query('$.nbf','int')
    http-request set-var(txn.now) date()
    http-request deny deny_status 401 hdr WWW-Authenticate Bearer unless {{ var(txn.token) -m found }}
    http-request deny deny_status 401 hdr WWW-Authenticate Bearer unless {{ var(txn.alg) -m str HS256 }}
    http-request deny deny_status 401 hdr WWW-Authenticate Bearer unless {{ var(txn.token),jwt_verify(txn.alg,"${{JWT_SECRET_KEY}}") -m int 1 }}
    http-request deny deny_status 401 hdr WWW-Authenticate Bearer unless {{ var(txn.exp) -m found }}
    http-request deny deny_status 401 hdr WWW-Authenticate Bearer if {{ var(txn.exp),sub(txn.now) -m int le 0 }}
    http-request deny deny_status 401 hdr WWW-Authenticate Bearer if {{ var(txn.nbf),sub(txn.now) -m int gt 0 }}
    default_backend echo

backend echo
    server echo 127.0.0.1:{backend}
"""


async def echo(connection: ServerConnection) -> None:
    async for message in connection:
        await connection.send(message)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return taken.getsockname()[1]


async def accepts(port: int) -> None:
    while True:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(0.02)
        else:
            writer.close()
            return


async def main(program: str, port: int) -> None:
    port = port or free_port()
    async with serve(echo, "127.0.0.1", 0, close_timeout=2) as server:
        config = CONFIG.format(port=port, backend=server.sockets[0].getsockname()[1])
        with tempfile.NamedTemporaryFile("w", suffix=".cfg") as file:
            file.write(config)
            file.flush()
            haproxy = await asyncio.create_subprocess_exec(program, "-db", "-f", file.name)
            try:
                loop = asyncio.get_running_loop()
                loop.add_signal_handler(signal.SIGTERM, haproxy.terminate)
                async with asyncio.timeout(10):
                    await accepts(port)
                print(f"listening on ws://127.0.0.1:{port}/", flush=True)
                await haproxy.wait()
            finally:
                if haproxy.returncode is None:
                    haproxy.kill()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--haproxy", required=True, help="the program")
    parser.add_argument("--port", type=int, default=int(os.environ.get("PORT", "0")),
                        help="0, the default, takes a free port; also PORT")
    arguments = parser.parse_args()
    if not os.environ.get("JWT_SECRET_KEY"):
        print("JWT_SECRET_KEY is not set: it is the HS256 key of the tokens", file=sys.stderr)
        raise SystemExit(2)
    asyncio.run(main(arguments.haproxy, arguments.port))
