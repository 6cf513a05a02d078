// What artillery_client.yaml cannot say in YAML: a token for every opening, as a test would make one; and an echo behind a
// greeting, which artillery's own `match` takes for the echo.

const { createHmac } = require('node:crypto');

const TEXT = 'x'.repeat(64);
const base64url = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');
const HEADER = base64url({ alg: 'HS256', typ: 'JWT' });

function open(connection, context, done) {
  const claims = { user_id: 'alice', username: 'Alice', exp: Math.floor(Date.now() / 1000) + 3600 };
  const signed = `${HEADER}.${base64url(claims)}`;
  const signature = createHmac('sha256', process.env.SECRET).update(signed).digest('base64url');
  connection.target += `/ws/${signed}.${signature}`;
  done();
}

// Counts the echoes that came, so that whoever reads the report knows that all did.
function echo(context, events, done) {
  context.ws.onmessage = ({ data }) => {
    if (data !== `Echo: ${TEXT}`) return;
    context.ws.onmessage = undefined;
    events.emit('counter', 'echoes', 1);
    done();
  };
  context.ws.send(TEXT);
}

module.exports = { open, echo };
