// fastify with @fastify/jwt and @fastify/websocket: the hook that guards its routes guards the socket as well.
//
// node fastify.mjs [--port N]      JWT_SECRET_KEY and PORT are read from the environment.

import { parseArgs } from "node:util";
import jwt from "@fastify/jwt";
import websocket from "@fastify/websocket";
import Fastify from "fastify";

const { values: args } = parseArgs({ options: { port: { type: "string" } } });
const secret = process.env.JWT_SECRET_KEY;
if (!secret) {
  console.error("JWT_SECRET_KEY is not set: it is the HS256 key of the tokens");
  process.exit(2);
}

const app = Fastify({ forceCloseConnections: true });
await app.register(jwt, {
  secret,
  // @fastify/jwt takes every HMAC algorithm, and a token without exp, unless it is told otherwise.
  verify: { algorithms: ["HS256"], requiredClaims: ["exp", "sub"] },
});
await app.register(websocket, {
  // ws would select the first offered subprotocol, whatever it is.
  options: { maxPayload: 64 * 1024, handleProtocols: () => false },
});

app.get("/health", async () => ({ status: "ok" }));

app.get("/live", {
  websocket: true,
  // Authorization: Bearer is where @fastify/jwt looks. What it throws becomes a 401 in JSON.
  onRequest: (request) => request.jwtVerify(),
}, (socket, request) => {
  const user = request.user.sub;
  socket.on("message", (data, isBinary) => {
    if (isBinary) socket.send(JSON.stringify({ type: "error", error: "Text messages only" }));
    else socket.send(JSON.stringify({ type: "echo", text: data.toString(), user }));
  });
  socket.send(JSON.stringify({ type: "welcome", user }));
});

await app.listen({ port: Number(args.port ?? process.env.PORT ?? 0), host: "127.0.0.1" });
console.log(`listening on ws://127.0.0.1:${app.server.address().port}/live`);

process.on("SIGTERM", () => {
  app.close().then(() => process.exit(0));
  setTimeout(() => process.exit(0), 2000).unref();
});
