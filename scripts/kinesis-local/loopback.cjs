// Makes every server of this process listen on 127.0.0.1 when it names no address, or all of them: kinesis-local has no
// option for it, and a test's records concern nobody else on the network. Loaded with `node --require`.
'use strict';

const net = require('node:net');

const LOOPBACK = '127.0.0.1';
const everywhere = (host) => host === undefined || host === null || host === '' || host === '0.0.0.0' || host === '::';
const listen = net.Server.prototype.listen;

net.Server.prototype.listen = function (...args) {
  const [first, second] = args;
  if (first !== null && typeof first === 'object' && first.port !== undefined) {
    if (everywhere(first.host)) args[0] = { ...first, host: LOOPBACK };
  } else if (typeof first === 'number' || (typeof first === 'string' && /^\d+$/.test(first))) {
    // listen(port[, host[, backlog]][, callback])
    if (typeof second !== 'string') args.splice(1, 0, LOOPBACK);
    else if (everywhere(second)) args[1] = LOOPBACK;
  }
  return listen.apply(this, args);
};
