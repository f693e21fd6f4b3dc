import { spawn } from 'node:child_process';
import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { appRepository, Rig, until } from '../support/rig.ts';

const cli = fileURLToPath(new URL('../../dist/cli.js', import.meta.url));

let rig: Rig;
beforeAll(async () => {
  rig = await Rig.start({ GANTRY_HEALTH_TIMEOUT: '15', GANTRY_APP_LOG: '6M' });
});
afterAll(() => rig[Symbol.asyncDispose]());
beforeEach(() => rig.explainFailures());

/** Counts on both streams, and says how far it came when it is ended. */
const counting = `
let count = 0;
const say = () => { count += 1; (count % 7 === 0 ? console.error : console.log)('tick ' + count); };
const timer = setInterval(say, 4);
process.on('SIGTERM', () => { clearInterval(timer); console.log('ended at ' + count); process.exit(0); });
require('node:http').createServer((req, res) => res.end('ok')).listen(process.env.PORT);
`;

type Line = {
  id: number;
  kind: string;
  text: string;
  time: string;
  release: number;
  instance: number;
  stream: string;
};

async function wholeLog(app: string): Promise<Line[]> {
  const { stdout } = await rig.gantry('logs', '--app', app, '--source', 'app', '--lines', '999999', '--json');
  return parse(stdout);
}

function parse(ndjson: string): Line[] {
  return ndjson
    .split('\n')
    .filter(Boolean)
    .map((line) => JSON.parse(line) as Line);
}

/** For every container the numbers it printed on a stream, in their order. */
function ticksOf(lines: readonly Line[], release: number, stream: string): number[] {
  return lines
    .filter((line) => line.release === release && line.stream === stream)
    .flatMap(({ text }) => (text.startsWith('tick ') ? [Number(text.slice(5))] : []));
}

function expectUnbroken(lines: readonly Line[], release: number): void {
  const ended = lines.find(({ release: of, text }) => of === release && text.startsWith('ended at '));
  const last = Number(ended?.text.slice('ended at '.length));
  const all = Array.from({ length: last }, (_, index) => index + 1);
  expect(ticksOf(lines, release, 'stdout')).toEqual(all.filter((number) => number % 7 !== 0));
  expect(ticksOf(lines, release, 'stderr')).toEqual(all.filter((number) => number % 7 === 0));
}

/** Reads along as fast as it comes. */
async function followUntil(app: string, end: string): Promise<Line[]> {
  const response = await fetch(`http://127.0.0.1:${rig.port}/api/v1/apps/${app}/logs?follow=true`, {
    headers: { authorization: `Bearer ${await rig.token}` },
  });
  const lines: Line[] = [];
  const decoder = new TextDecoder();
  let rest = '';
  for await (const chunk of response.body as unknown as AsyncIterable<Uint8Array>) {
    const rows = `${rest}${decoder.decode(chunk, { stream: true })}`.split('\n');
    rest = rows.pop() ?? '';
    lines.push(...parse(rows.join('\n')));
    if (lines.at(-1)?.text === end) return lines;
  }
  throw new Error('the log ended');
}

/** Gaps in the numbers of a flood that are longer or shorter than what the notices in them say. */
function unexplained(lines: readonly Line[]): string[] {
  const wrong: string[] = [];
  let before = 0;
  let told = 0;
  for (const { text } of lines) {
    const [, number] = /^flood (\d+)/.exec(text) ?? [];
    told += Number(/^\.\.\. (\d+) lines not kept: printed/.exec(text)?.[1] ?? 0);
    // Printed faster than the engine hands over what it keeps, which is little.
    if (text.includes('lines not kept, nobody knows how many')) told = Number.NaN;
    if (number === undefined) continue;
    if (Number(number) <= before || (!Number.isNaN(told) && Number(number) - before - 1 !== told))
      wrong.push(`${before} -> ${number}, told ${told}`);
    before = Number(number);
    told = 0;
  }
  return wrong;
}

describe('what an app prints', () => {
  test('is kept over swaps and a killed worker, every line once, and followed as it comes', async () => {
    await using repo = await appRepository('web', { 'server.js': counting });
    const url = await rig.pushUrl('counter');
    expect((await repo.push(url)).code).toBe(0);
    const env = { ...rig.env, GANTRY_URL: `http://127.0.0.1:${rig.port}` };
    const follower = spawn(
      process.execPath,
      [cli, 'logs', '--app', 'counter', '-f', '-n', '999999', '--json'],
      {
        env,
        stdio: ['ignore', 'pipe', 'ignore'],
      },
    );
    let followed = '';
    follower.stdout.on('data', (chunk: Buffer) => {
      followed += chunk.toString();
    });
    await until('lines come', () => followed.includes('tick 100"'));

    await repo.commit({ version: 'two' });
    expect((await repo.push(url)).code).toBe(0);
    await until('the second one is heard', () => followed.includes('"release":2'));
    await until('the first one is gone', async () => {
      const label = [`gantry.store=${await rig.storeId}`];
      return (await rig.docker.listContainers({ all: true, filters: { label } })).length === 1;
    });
    // Its successor removes the second one before anybody collects again.
    process.kill(await rig.workerPid(), 'SIGKILL');
    await repo.commit({ version: 'three' });
    expect((await repo.push(url)).code).toBe(0);
    await until('the third one is heard', () => followed.includes('"release":3'));
    // The follower is cut off and goes on.
    await rig.stop();
    await rig.start();
    expect((await rig.gantry('stop', 'counter')).code).toBe(0);
    await until('its end is heard', () => followed.split('ended at ').length === 4);

    const lines = await wholeLog('counter');
    await until('all of it is heard', () => followed.endsWith(`${JSON.stringify(lines.at(-1))}\n`));
    follower.kill('SIGINT');
    for (const release of [1, 2, 3]) expectUnbroken(lines, release);
    expect(lines.map(({ id }) => id)).toEqual(lines.map((_, index) => index + 1));
    expect(parse(followed.slice(0, followed.lastIndexOf('\n') + 1))).toEqual(lines);
  });

  test('goes on behind the last line as server-sent events', async () => {
    const read = async (query: string, headers: Record<string, string>): Promise<string> => {
      const response = await fetch(`http://127.0.0.1:${rig.port}/api/v1/apps/counter/logs${query}`, {
        headers: { authorization: `Bearer ${await rig.token}`, accept: 'text/event-stream', ...headers },
      });
      return `${response.status} ${await response.text()}`;
    };
    const whole = (await read('', {})).split('\n\n');
    const rest = (await read('?lines=5', { 'last-event-id': '100' })).split('\n\n');
    expect(rest.slice(1)).toEqual(whole.slice(101));
    expect(rest[0]).toMatch(/^200 id: 101\ndata: \{"id":101,"kind":"output"/);
    expect(whole.at(-2)).toBe('id: end\nevent: end\ndata: {"id":"end","end":"end"}');
    expect(await read('', { 'last-event-id': 'end' })).toBe('204 ');
    expect(await read('?since=yesterday', {})).toContain('422 ');
  });

  test('says when, and which instance; values of variables and control sequences do not show', async () => {
    await using repo = await appRepository('web', {
      'server.js': `
        console.log('secret ' + process.env.SECRET + ' and \\x1b[31mred\\x1b[0m \\x1b]0;title\\x07 on ' + process.env.INSTANCE_NUMBER);
        console.log(Buffer.from(process.env.SECRET).toString('base64'));
        console.log('x'.repeat(20000) + 'end of a long line');
        process.stdout.write('no line break');
        require('node:http').createServer((req, res) => res.end('ok')).listen(process.env.PORT);`,
    });
    const secret = 'correct-horse-battery';
    await rig.setEnv('quiet', { SECRET: secret });
    await rig.gantry('scale', '--instances', '2', '--app', 'quiet');
    expect((await repo.push(await rig.pushUrl('quiet'))).code).toBe(0);
    const shown = async (): Promise<string> =>
      (await rig.gantry('logs', '--app', 'quiet', '--since', '10m')).stdout;
    await until(
      'both were heard',
      async () => (await shown()).split('long').length > 2 || (await shown()).split('line cut').length > 2,
    );
    const log = await shown();
    for (const instance of [0, 1])
      expect(log).toMatch(
        new RegExp(
          `^20\\d\\d-\\d\\d-\\d\\dT\\d\\d:\\d\\d:\\d\\d\\.\\d{3}Z v1\\[${instance}\\] secret \\(hidden\\) and red {2}on ${instance}$`,
          'm',
        ),
      );
    expect(log).not.toContain('\x1b');
    expect(log).not.toContain(Buffer.from(secret).toString('base64').replace(/=+$/, ''));
    expect(log).toMatch(/x{8000,} \[line cut at 8 KiB\]$/m);
    expect((await rig.gantry('logs', '--app', 'quiet', '-n', '1')).stdout.split('\n')).toHaveLength(2);
    expect(
      (await rig.gantry('logs', '--app', 'quiet', '--since', '2001-01-01', '-n', '3')).stdout.split('\n'),
    ).toHaveLength(4);
    expect((await rig.gantry('stop', 'quiet')).code).toBe(0);
    expect((await shown()).match(/no line break$/gm)).toHaveLength(2);
    for (const name of await readdir(join(rig.dataDir, 'app-logs/quiet')))
      expect(await readFile(join(rig.dataDir, 'app-logs/quiet', name), 'utf8')).not.toContain(secret);
  });

  test('tells why it died, after its container is gone', async () => {
    await using repo = await appRepository('web', {
      'server.js': `
        for (let line = 1; line <= 300; line += 1) console.log('line ' + line);
        throw new Error('no database at all');`,
    });
    expect((await repo.push(await rig.pushUrl('dying'))).code).toBe(1);
    const log = (await rig.gantry('logs', '--app', 'dying', '--source', 'app', '-n', '9999')).stdout;
    expect(log).toContain('line 300\n');
    expect(log).toContain('Error: no database at all\n');
    expect(log.match(/line 150$/gm)).toHaveLength(1);
  });

  test('of one that floods is not kept whole: what is missing is counted, and others go on', async () => {
    const lines = 400_000;
    await using repo = await appRepository('web', {
      'server.js': `
        const { writeSync } = require('node:fs');
        require('node:http').createServer((req, res) => {
          res.end('ok');
          if (req.url !== '/flood') return;
          for (let from = 0; from < ${lines}; from += 1000) {
            let text = '';
            for (let line = from + 1; line <= from + 1000; line += 1) text += 'flood ' + String(line).padStart(8, '0') + ' ' + 'x'.repeat(50) + '\\n';
            for (let rest = Buffer.from(text); rest.length > 0; ) {
              try { rest = rest.subarray(writeSync(1, rest)); } catch (error) { if (error.code !== 'EAGAIN') throw error; }
            }
          }
          console.log('the flood is over');
        }).listen(process.env.PORT);`,
    });
    await using other = await appRepository('web');
    expect((await repo.push(await rig.pushUrl('flood'))).code).toBe(0);
    const all = followUntil('flood', 'the flood is over');
    expect((await rig.request('flood', '/flood')).status).toBe(200);
    const push = await other.push(await rig.pushUrl('beside'));
    expect(push.code).toBe(0);
    const tail = async (): Promise<string> => (await rig.gantry('logs', '--app', 'flood', '-n', '5')).stdout;
    await until('its end is heard', async () => (await tail()).includes('the flood is over'), 120_000);

    const kept = await wholeLog('flood');
    expect(kept[0]?.text).toBe(
      `... ${kept[0]?.id} older lines not kept: the log of the app has reached its size (GANTRY_APP_LOG) ...`,
    );
    expect(kept.length).toBeLessThan(80_000);
    // Between two lines that were kept, a notice says exactly how many are not there.
    const heard = await all;
    const notices = heard.filter(({ text }) =>
      text.includes('lines not kept: printed faster than 512 KiB/s'),
    );
    expect(notices.length).toBeGreaterThan(0);
    expect(unexplained(heard)).toEqual([]);
    let bytes = 0;
    for (const name of await readdir(join(rig.dataDir, 'app-logs/flood')))
      bytes += (await stat(join(rig.dataDir, 'app-logs/flood', name))).size;
    expect(bytes).toBeLessThan(6.2 * 1024 ** 2);
    const status = await readFile(`/proc/${await rig.workerPid()}/status`, 'utf8');
    expect(Number(/VmRSS:\s+(\d+)/.exec(status)?.[1])).toBeLessThan(400_000);
  }, 240_000);

  test('is asked for apart from deployments, whose forms stay', async () => {
    const bare = await rig.gantry('logs', '--app', 'beside');
    expect(bare.stdout).toContain('success: beside v1 is live');
    expect(bare.stderr).toContain('what the app prints: gantry logs --source app');
    expect(bare.code).toBe(0);
    const short = await rig.gantry('logs', '--app', 'beside', '--source', 'deploy', '--lines', '2');
    expect(short.stdout).toMatch(/^success: beside v1 is live .*\n {7}http:.*\n$/);
    const numbered = await rig.gantry('logs', '--app', 'beside', '--deploy', '1', '--json');
    expect(numbered.stdout).toMatch(/^\{"id":1,"kind":"heading"/);
    expect(await rig.gantry('logs', '--app', 'beside', '--source', 'app')).toMatchObject({
      code: 0,
      stdout: '',
    });
    for (const wrong of [
      ['--since', 'noon'],
      ['--lines', 'all'],
      ['--source', 'app', '--deploy', '1'],
      ['--source', 'deploy', '--since', '1h'],
    ])
      expect((await rig.gantry('logs', '--app', 'beside', ...wrong)).code).toBe(2);
    expect((await rig.gantry('logs', '--app', 'nobody', '--follow')).code).toBe(4);
  });
});
