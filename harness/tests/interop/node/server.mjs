// personal-assistant's echo on Node: ws in the noServer style, refusing in the upgrade handler.
//
// node server.mjs [--port N]      SECRET_KEY and PORT are read from the environment.

import { createServer, STATUS_CODES } from "node:http";
import { parseArgs } from "node:util";
import jwt from "jsonwebtoken";
import { WebSocketServer } from "ws";

const { values: args } = parseArgs({ options: { port: { type: "string" } } });
const port = Number(args.port ?? process.env.PORT ?? 0);
const secret = process.env.SECRET_KEY || "dev-secret-key";

function verifyToken(token) {
  let claims;
  try {
    claims = jwt.verify(token, secret, { algorithms: ["HS256"] });
  } catch {
    return null;
  }
  // jsonwebtoken checks `exp` only when it is there.
  if (typeof claims !== "object" || claims === null) return null;
  if (typeof claims.exp !== "number") return null;
  if (!["string", "number"].includes(typeof claims.user_id) || claims.user_id === "") return null;
  return claims;
}

function refuse(socket, status, headers = []) {
  const lines = [
    `HTTP/1.1 ${status} ${STATUS_CODES[status]}`,
    ...headers,
    "Content-Length: 0",
    "Connection: close",
  ];
  socket.end(lines.join("\r\n") + "\r\n\r\n", () => socket.destroySoon());
}

function json(response, status, value, headers = {}) {
  response.writeHead(status, { "Content-Type": "application/json", ...headers });
  response.end(JSON.stringify(value));
}

const server = createServer((request, response) => {
  const path = request.url.split("?", 1)[0];
  if (path === "/ws") {
    json(response, 426, { detail: "Upgrade Required" },
      { Upgrade: "websocket", Connection: "Upgrade" });
  } else if (path !== "/health") {
    json(response, 404, { detail: "Not Found" });
  } else if (request.method !== "GET" && request.method !== "HEAD") {
    json(response, 405, { detail: "Method Not Allowed" }, { Allow: "GET, HEAD" });
  } else {
    const timestamp = new Date().toISOString();
    json(response, 200, { status: "ok", timestamp, service: "Super Brain API" });
  }
});

const wss = new WebSocketServer({
  noServer: true,
  maxPayload: 1024 * 1024,
  // ws would select the first offered subprotocol, whatever it is.
  handleProtocols: () => false,
});

wss.on("connection", (ws, _request, claims) => {
  ws.on("error", () => {}); // a bad frame: ws has closed the connection already
  ws.on("message", (data, isBinary) => {
    if (isBinary) {
      ws.send(JSON.stringify({ event: "error", message: "Text messages only" }));
    } else {
      ws.send(`Echo: ${data}`);
    }
  });
  ws.send(JSON.stringify({
    event: "connected",
    user_id: claims.user_id,
    message: "Connected to Super Brain",
  }));
});

server.on("upgrade", (request, socket, head) => {
  const ignore = () => {};
  socket.on("error", ignore);

  let url;
  try {
    url = new URL(request.url, "http://localhost");
  } catch {
    return refuse(socket, 400);
  }
  if (url.pathname !== "/ws") return refuse(socket, 404);

  const token = url.searchParams.get("token");
  const claims = token ? verifyToken(token) : null;
  if (claims === null) return refuse(socket, 401, ["WWW-Authenticate: Bearer"]);

  socket.off("error", ignore);
  wss.handleUpgrade(request, socket, head, (ws) => wss.emit("connection", ws, request, claims));
});

server.listen(port, "127.0.0.1", () => {
  console.log(`listening on ws://127.0.0.1:${server.address().port}/ws?token={token}`);
});

process.on("SIGTERM", () => {
  for (const ws of wss.clients) ws.close(1001, "Going away");
  server.close(() => process.exit(0));
  setTimeout(() => process.exit(0), 2000).unref();
});
