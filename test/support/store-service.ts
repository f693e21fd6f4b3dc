/**
 * A database as small as can be, for `--command`: keeps what it is sent in its volume, `/data`, and ends when that has a file
 * `refuse`.
 */
const storeService = `exec node -e '
const { appendFileSync, existsSync, readFileSync } = require("node:fs");
process.on("SIGTERM", () => process.exit(0));
if (existsSync("/data/refuse")) process.exit(5);
require("node:http").createServer((req, res) => {
  const text = new URL(req.url, "http://store").searchParams.get("add");
  if (text) appendFileSync("/data/kept", text + " ");
  res.end(existsSync("/data/kept") ? readFileSync("/data/kept", "utf8").trim() : "nothing");
}).listen(7000);'`;

/** How `gantry services create` makes one. */
export const storeOptions = [
  '--image=gantry-test/node:1',
  '--port=7000',
  '--path=/data',
  `--command=${storeService}`,
];

/** An app that passes on what is asked for at `/host:port/path`. */
export const relayApp = {
  Dockerfile: 'FROM gantry-test/node:1\nCOPY . /app\nCMD ["node","/app/server.js"]\n',
  'server.js': `
process.on('SIGTERM', () => process.exit(0));
require('node:http').createServer(async (req, res) => {
  if (req.url === '/') return res.end(JSON.stringify(process.env));
  try {
    const answer = await fetch('http:/' + req.url, { signal: AbortSignal.timeout(1000) });
    res.end(await answer.text());
  } catch (error) {
    res.end('unreachable: ' + (error.cause?.code ?? error.name));
  }
}).listen(process.env.PORT);
`,
};
