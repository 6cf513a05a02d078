// A client in k6: opens, says one text, hears it again, closes; so many times, so many at a time.
//
//     k6 run k6_client.js, with PORT, TIMES, AT_ONCE and SECRET in the environment
//
// A token is made for every opening, as a test would.

import { check } from 'k6';
import crypto from 'k6/crypto';
import encoding from 'k6/encoding';
import ws from 'k6/ws';

export const options = {
  scenarios: {
    cycles: {
      executor: 'shared-iterations',
      vus: Number(__ENV.AT_ONCE),
      iterations: Number(__ENV.TIMES),
      maxDuration: '10m',
    },
  },
  // One echo that does not come, or another, and k6 ends with a code that is not 0.
  thresholds: { checks: ['rate==1'] },
};

const TEXT = 'x'.repeat(64);
const HEADER = encoding.b64encode(JSON.stringify({ alg: 'HS256', typ: 'JWT' }), 'rawurl');

function token() {
  const claims = { user_id: 'alice', username: 'Alice', exp: Math.floor(Date.now() / 1000) + 3600 };
  const signed = `${HEADER}.${encoding.b64encode(JSON.stringify(claims), 'rawurl')}`;
  return `${signed}.${crypto.hmac('sha256', __ENV.SECRET, signed, 'base64rawurl')}`;
}

export default function () {
  let echo = '';
  ws.connect(`ws://127.0.0.1:${__ENV.PORT}/ws/${token()}`, null, (socket) => {
    let greeted = false;
    socket.on('message', (text) => {
      if (greeted) {
        echo = text;
        socket.close();
      } else {
        greeted = true;
        socket.send(TEXT);
      }
    });
  });
  check(echo, { echo: (text) => text === `Echo: ${TEXT}` });
}
