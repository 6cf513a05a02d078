// A document editor's gate as the documentation of its libraries asks for it: ws in the noServer style, and jose.
//
// node strict.mjs --key-file PATH [--port N]
//
// The token rides in Sec-WebSocket-Protocol, as browsers need it: `doc.v1, bearer.TOKEN`. A real gate is given public
// keys only; this one makes the pair and leaves the private half at PATH, so that somebody can sign.

import { writeFileSync } from "node:fs";
import { createServer, STATUS_CODES } from "node:http";
import { parseArgs } from "node:util";
import { errors, exportPKCS8, generateKeyPair, jwtVerify } from "jose";
import { WebSocketServer } from "ws";

const ISSUER = "https://id.docs.example/";
const AUDIENCE = "https://docs.example/live";
const TOKEN_TYPE = "doc-session+jwt";
const ROLES = new Set(["editor", "owner"]);
const SUBPROTOCOL = "doc.v1";
const BEARER = "bearer.";
const ORIGINS = new Set(["https://docs.example", "https://preview.docs.example:8443"]);
const PATH = "/live";
const MAX_MESSAGE_BYTES = 32 * 1024;
const MAX_TIMEOUT_MS = 2 ** 31 - 1;

const { values: args } = parseArgs({
  options: { port: { type: "string" }, "key-file": { type: "string" } },
});
if (args["key-file"] === undefined) {
  console.error("--key-file PATH is missing: where to leave the private key");
  process.exit(2);
}
const { publicKey, privateKey } = await generateKeyPair("ES256", { extractable: true });
writeFileSync(args["key-file"], await exportPKCS8(privateKey), { mode: 0o600 });

// --- The token ---------------------------------------------------------------------------------

class Refused extends Error {
  constructor(status, headers = {}) {
    super(STATUS_CODES[status]);
    this.status = status;
    this.headers = headers;
  }
}

const challenge = (parameters) => ({ "WWW-Authenticate": `Bearer realm="docs"${parameters}` });

function bearerToken(offered) {
  const tokens = offered.filter((word) => word.startsWith(BEARER));
  if (tokens.length === 0) throw new Refused(401, challenge(""));
  if (tokens.length > 1) throw new Refused(400, challenge(', error="invalid_request"'));
  return tokens[0].slice(BEARER.length);
}

async function authenticate(token) {
  let claims;
  try {
    ({ payload: claims } = await jwtVerify(token, publicKey, {
      algorithms: ["ES256"],
      issuer: ISSUER,
      audience: AUDIENCE,
      typ: TOKEN_TYPE,
      requiredClaims: ["exp", "sub"],
      maxTokenAge: "1 hour",
      clockTolerance: 0,
    }));
  } catch (error) {
    if (!(error instanceof errors.JOSEError)) console.error("unreadable token:", error);
    throw new Refused(401, challenge(', error="invalid_token"'));
  }
  // jose asks that `sub` is there, not what it is.
  if (typeof claims.sub !== "string" || claims.sub === "") {
    throw new Refused(401, challenge(', error="invalid_token"'));
  }
  if (!ROLES.has(claims.role)) throw new Refused(403, challenge(', error="insufficient_scope"'));
  return claims;
}

// --- The handshake -----------------------------------------------------------------------------

// Of the target in origin-form, or in absolute-form, which RFC 9112, section 3.2.2, asks servers to take.
function pathOf(request) {
  try {
    return new URL(request.url, "http://localhost").pathname;
  } catch {
    return null;
  }
}

// What Node checks of an ordinary request it does not check of an upgrade, and ws also takes the version 8 of a draft.
function checkRequest(request) {
  if (request.httpVersion !== "1.1") throw new Refused(505);
  if (request.headersDistinct.host?.length !== 1) throw new Refused(400);
  if (request.method !== "GET") throw new Refused(405, { Allow: "GET" });
  if (pathOf(request) !== PATH) throw new Refused(404);
  if (request.headers["sec-websocket-version"] !== "13") {
    throw new Refused(426, { Upgrade: "websocket", "Sec-WebSocket-Version": "13" });
  }
  // Clients that are no browsers send no Origin; ORIGINS is a promise to the pages of others. Two of them is none.
  const origins = request.headersDistinct.origin ?? [];
  if (origins.length > 1 || origins.some((origin) => !ORIGINS.has(origin))) throw new Refused(403);
}

function offeredSubprotocols(request) {
  const header = request.headers["sec-websocket-protocol"] ?? "";
  return header.split(",").map((word) => word.trim());
}

function refuse(socket, { status, headers }) {
  const lines = Object.entries({ ...headers, "Content-Length": 0, Connection: "close" });
  const head = lines.map(([name, value]) => `${name}: ${value}\r\n`).join("");
  socket.end(`HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\n${head}\r\n`, () => socket.destroySoon());
}

const wss = new WebSocketServer({
  noServer: true,
  maxPayload: MAX_MESSAGE_BYTES,
  perMessageDeflate: {
    serverNoContextTakeover: true,
    clientNoContextTakeover: true,
    serverMaxWindowBits: 12,
    zlibDeflateOptions: { level: 3, memLevel: 7 },
    threshold: 1024,
    concurrencyLimit: 4,
  },
  // Never the first that is offered, which may be the token.
  handleProtocols: (offered) => (offered.has(SUBPROTOCOL) ? SUBPROTOCOL : false),
});

const server = createServer((request, response) => {
  const path = pathOf(request);
  if (path === "/health" && (request.method === "GET" || request.method === "HEAD")) {
    response.writeHead(200, { "Content-Type": "application/json" });
    response.end(JSON.stringify({ status: "ok" }));
  } else if (path === "/health") {
    response.writeHead(405, { Allow: "GET, HEAD" }).end();
  } else if (path === PATH) {
    response.writeHead(426, { Upgrade: "websocket", Connection: "Upgrade" }).end();
  } else {
    response.writeHead(404).end();
  }
});

server.on("upgrade", async (request, socket, head) => {
  const onSocketError = () => socket.destroy();
  socket.on("error", onSocketError);
  let claims;
  try {
    checkRequest(request);
    const offered = offeredSubprotocols(request);
    const token = bearerToken(offered);
    claims = await authenticate(token);
    if (!offered.includes(SUBPROTOCOL)) throw new Refused(400);
  } catch (error) {
    if (error instanceof Refused) return refuse(socket, error);
    console.error("upgrade failed:", error);
    return refuse(socket, new Refused(500));
  }
  socket.off("error", onSocketError);
  wss.handleUpgrade(request, socket, head, (ws) => wss.emit("connection", ws, request, claims));
});

// --- The messages ------------------------------------------------------------------------------

function answer(claims, data, isBinary) {
  if (isBinary) return { type: "error", error: "Text messages only" };
  let message;
  try {
    message = JSON.parse(data);
  } catch {
    return { type: "error", error: "Not JSON" };
  }
  if (message?.type === "echo" && typeof message.payload === "string") {
    return { type: "echo", payload: message.payload, user: claims.sub };
  }
  return { type: "error", error: "Unknown message" };
}

wss.on("connection", (ws, _request, claims) => {
  ws.isAlive = true;
  ws.on("pong", () => { ws.isAlive = true; });
  ws.on("error", () => {}); // a bad frame: ws has closed the connection already
  ws.on("message", (data, isBinary) => ws.send(JSON.stringify(answer(claims, data, isBinary))));
  const remaining = Math.min(claims.exp * 1000 - Date.now(), MAX_TIMEOUT_MS);
  const expiry = setTimeout(() => ws.close(3000, "Token expired"), remaining);
  ws.on("close", () => clearTimeout(expiry));
  ws.send(JSON.stringify({ type: "welcome", user: claims.sub }));
});

const heartbeat = setInterval(() => {
  for (const ws of wss.clients) {
    if (!ws.isAlive) { ws.terminate(); continue; }
    ws.isAlive = false;
    ws.ping();
  }
}, 30_000);

server.listen(Number(args.port ?? process.env.PORT ?? 0), "127.0.0.1", () => {
  console.log(`listening on ws://127.0.0.1:${server.address().port}${PATH}`);
});

process.on("SIGTERM", () => {
  clearInterval(heartbeat);
  for (const ws of wss.clients) ws.close(1001, "Going away");
  server.close(() => process.exit(0));
  setTimeout(() => process.exit(0), 2000).unref();
});
