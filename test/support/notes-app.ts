/** An app that keeps notes in its volume, `/data`: `/add?text=…` and `/`, where it also says its version. */
export function notesApp(version: string, start = ''): Record<string, string> {
  return {
    Dockerfile: 'FROM gantry-test/node:1\nCOPY . /app\nCMD ["/usr/local/bin/node", "/app/server.js"]\n',
    'server.js': `${start}
const { appendFileSync, existsSync, readFileSync } = require('node:fs');
process.on('SIGTERM', () => process.exit(0));
require('node:http').createServer((req, res) => {
  const url = new URL(req.url, 'http://app');
  if (url.pathname === '/add') appendFileSync('/data/notes', url.searchParams.get('text') + ' ');
  res.end('${version}: ' + (existsSync('/data/notes') ? readFileSync('/data/notes', 'utf8').trim() : 'none'));
}).listen(process.env.PORT);
`,
  };
}
