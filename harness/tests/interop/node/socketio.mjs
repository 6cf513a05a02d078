// Socket.IO with its WebSocket transport: the token is `auth.token` of the CONNECT packet, the first message.
//
// node socketio.mjs [--port N]      JWT_SECRET_KEY and PORT are read from the environment.

import { createServer } from "node:http";
import { parseArgs } from "node:util";
import jwt from "jsonwebtoken";
import { Server } from "socket.io";

const { values: args } = parseArgs({ options: { port: { type: "string" } } });
const secret = process.env.JWT_SECRET_KEY;
if (!secret) {
  console.error("JWT_SECRET_KEY is not set: it is the HS256 key of the tokens");
  process.exit(2);
}

const server = createServer();
// A client that has not been let in within connectTimeout is closed; 45 s is the default.
const io = new Server(server, { transports: ["websocket"], connectTimeout: 2000, maxHttpBufferSize: 64 * 1024 });

io.use((socket, next) => {
  let claims;
  try {
    claims = jwt.verify(socket.handshake.auth.token, secret, { algorithms: ["HS256"] });
  } catch {
    return next(new Error("unauthorized"));
  }
  // jsonwebtoken checks `exp` only when it is there.
  if (typeof claims?.exp !== "number" || typeof claims.sub !== "string") return next(new Error("unauthorized"));
  socket.data.user = claims.sub;
  next();
});

io.on("connection", (socket) => {
  socket.on("echo", (text) => socket.emit("echo", text));
});

server.listen(Number(args.port ?? process.env.PORT ?? 0), "127.0.0.1", () => {
  console.log(`listening on ws://127.0.0.1:${server.address().port}/socket.io/?EIO=4&transport=websocket`);
});

process.on("SIGTERM", () => {
  io.close(() => process.exit(0));
  setTimeout(() => process.exit(0), 2000).unref();
});
