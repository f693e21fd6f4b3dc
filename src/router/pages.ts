type Page = { status: string; title: string; text: string };

/**
 * What a visitor sees when no app answers. The pages are the same for everybody: they never repeat the host name or
 * anything else from the request.
 */
const pages = {
  'unknown-host': {
    status: '404 Not Found',
    title: 'No app answers on this host name',
    text: 'The server is up, but no app is reachable under the address you used. Check the spelling, or add the host name to an app.',
  },
  'no-release': {
    status: '503 Service Unavailable',
    title: 'This app is not answering',
    text: 'The app is starting, has no live release, or its container does not accept connections. Try again in a moment.',
  },
  stopped: {
    status: '503 Service Unavailable',
    title: 'This app is stopped',
    text: 'Whoever runs it has stopped it for now. It answers again once they start it.',
  },
  'bad-answer': {
    status: '502 Bad Gateway',
    title: 'This app broke off its answer',
    text: 'The app closed the connection or sent something that is not HTTP. Its log may say why.',
  },
  'no-answer': {
    status: '504 Gateway Timeout',
    title: 'This app did not answer in time',
    text: 'The app accepted the request but sent no answer. Its log may say why.',
  },
} as const satisfies Record<string, Page>;

/** File name to content: bodies for answers of our own, and whole answers (`.http`) for HAProxy's `errorfile`. */
export function pageFiles(): ReadonlyMap<string, string> {
  return new Map([
    ['unknown-host.html', html(pages['unknown-host'])],
    ['unknown-host.txt', plain(pages['unknown-host'])],
    ['no-release.html', html(pages['no-release'])],
    ['no-release.txt', plain(pages['no-release'])],
    ['stopped.html', html(pages.stopped)],
    ['stopped.txt', plain(pages.stopped)],
    ['no-release.http', wholeAnswer(pages['no-release'])],
    ['bad-answer.http', wholeAnswer(pages['bad-answer'])],
    ['no-answer.http', wholeAnswer(pages['no-answer'])],
  ]);
}

function plain({ title, text }: Page): string {
  return `${title}.\n${text}\n`;
}

function html({ title, text }: Page): string {
  return `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>${title}</title>
<style>body{font:1rem/1.5 system-ui,sans-serif;max-width:36rem;margin:15vh auto;padding:0 1rem}h1{font-size:1.4rem}</style>
<h1>${title}</h1>
<p>${text}</p>
</html>
`;
}

/** No keep-alive: HAProxy sends these when the connection to the app is in an unknown state. */
function wholeAnswer(page: Page): string {
  const body = html(page);
  const head = [
    `HTTP/1.1 ${page.status}`,
    `Content-Length: ${Buffer.byteLength(body)}`,
    'Content-Type: text/html; charset=utf-8',
    'Cache-Control: no-store',
    'Retry-After: 5',
    'Connection: close',
  ];
  return `${head.join('\r\n')}\r\n\r\n${body}`;
}
