import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { appRepository, Rig, until } from '../support/rig.ts';

let rig: Rig;
beforeAll(async () => {
  rig = await Rig.start({ GANTRY_HEALTH_TIMEOUT: '20' });
});
afterAll(() => rig[Symbol.asyncDispose]());
beforeEach(() => rig.explainFailures());

type Event = { id: string; name: string; data: { kind?: string; text?: string; end?: string } };

async function open(path: string, headers: Record<string, string>): Promise<Response> {
  return fetch(`http://127.0.0.1:${rig.port}/api/v1${path}`, {
    headers: { authorization: `Bearer ${await rig.token}`, ...headers },
  });
}

/** Reads as a browser does: an event counts once the empty line after it came. Cut off after so many bytes. */
async function readEvents(path: string, after: string | undefined, cutAfter: number): Promise<Event[]> {
  const response = await open(path, {
    accept: 'text/event-stream',
    ...(after !== undefined && { 'last-event-id': after }),
  });
  expect(response.headers.get('content-type')).toBe('text/event-stream');
  let text = '';
  for await (const chunk of response.body as unknown as AsyncIterable<Uint8Array>) {
    text += Buffer.from(chunk).toString('latin1');
    if (text.length >= cutAfter) {
      text = text.slice(0, cutAfter);
      break;
    }
  }
  const whole = text.slice(0, text.lastIndexOf('\n\n') + 2);
  return whole.split('\n\n').flatMap((block) => {
    const field = (name: string) => new RegExp(`^${name}: (.*)$`, 'm').exec(block)?.[1] ?? '';
    if (field('id') === '') return [];
    const data = JSON.parse(Buffer.from(field('data'), 'latin1').toString()) as Event['data'];
    return [{ id: field('id'), name: field('event'), data }];
  });
}

async function readLines(path: string): Promise<Record<string, unknown>[]> {
  const text = await (await open(path, {})).text();
  return text
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as Record<string, unknown>);
}

describe('the log of a deployment as server-sent events', () => {
  const counting = [
    'FROM gantry-test/base:1',
    'RUN i=0; while [ $i -lt 600 ]; do echo "Zeile $i übers Meer"; i=$((i+1)); [ $((i % 20)) != 0 ] || sleep 0.2; done',
    'COPY version /www/index.html',
    'CMD ["httpd","-f","-p","8080","-h","/www"]',
    '',
  ].join('\n');
  const path = '/apps/cut/deployments/1/logs';

  test('is cut 100 times, live and afterwards, and no line is lost or comes twice', async () => {
    await using repo = await appRepository('page', { Dockerfile: counting });
    const push = repo.push(await rig.pushUrl('cut'));
    await until('it began', async () => (await rig.api('GET', '/apps/cut/deployments/1')).status === 200);

    const events: Event[] = [];
    let cuts = 0;
    while (events.at(-1)?.name !== 'end') {
      // An odd number of bytes each time, through the middle of events and characters; the last reader is left alone.
      const limit = cuts < 100 ? 150 + ((cuts * 7919) % 1100) : Number.POSITIVE_INFINITY;
      events.push(...(await readEvents(path, events.at(-1)?.id, limit)));
      cuts += 1;
    }
    expect(cuts).toBeGreaterThan(60);
    expect(await push).toMatchObject({ code: 0 });
    const expected = await readLines(path);
    expect(events.map(({ data }) => data)).toEqual(expected);
    expect(events.slice(0, -1).map(({ id }) => Number(id))).toEqual(
      expected.slice(0, -1).map((_, at) => at + 1),
    );
    expect(expected.filter(({ text }) => /Zeile \d+ übers Meer/.test(String(text)))).toHaveLength(600);
    expect(expected.at(-1)).toEqual({ id: 'end', end: 'live' });
  });

  test('has nothing more for who saw its end, and is told the id of no line in one line', async () => {
    expect((await open(path, { 'last-event-id': 'end', accept: 'text/event-stream' })).status).toBe(204);
    const wrong = await open(path, { 'last-event-id': '../1', accept: 'text/event-stream' });
    expect(wrong.status).toBe(422);
    expect(await wrong.json()).toMatchObject({ code: 'INVALID', detail: 'that is no id of a line' });
  });

  test('goes on after a line for who reads JSON as well', async () => {
    const all = await readLines(path);
    expect(await readLines(`${path}?after=10`)).toEqual(all.slice(10));
  });
});
