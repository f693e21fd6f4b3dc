import { truncate } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type AppName, parseAppName } from '../../src/domain/app.ts';
import type { LogLine } from '../../src/domain/log-line.ts';
import { LogReader } from '../../src/store/log-reader.ts';
import { LogWriter } from '../../src/store/log-writer.ts';
import { patientRedis } from '../../src/store/redis.ts';
import { StreamWatch } from '../../src/store/stream-watch.ts';
import { Network } from '../support/network.ts';
import { temporaryRedis } from '../support/redis.ts';

let redis: Awaited<ReturnType<typeof temporaryRedis>>;
let reader: LogReader;
let watch: StreamWatch;
beforeAll(async () => {
  redis = await temporaryRedis();
  const commands = redis.connect();
  watch = new StreamWatch(redis.connect(), commands);
  reader = new LogReader(commands, watch, `${redis.dir}/logs`);
});
afterAll(async () => {
  watch.close();
  await redis[Symbol.asyncDispose]();
});

let count = 0;
async function newLog(
  limits?: { headBytes: number; tailBytes: number; lineBytes: number },
  connection = redis.connect(),
) {
  const app = parseAppName(`app-${(count += 1)}`) as AppName;
  await connection.hset(`gantry:app:${app}`, 'fence', 1);
  const writer = new LogWriter({
    redis: connection,
    owner: `gantry:app:${app}`,
    log: `gantry:log:${app}:1`,
    fence: 1,
    mask: (text) => text.replaceAll('secret', '***'),
    ...(limits && { limits }),
  });
  const end = (state: string) => connection.xadd(`gantry:log:${app}:1`, '*', 'end', state);
  return { app, writer, end, connection };
}

async function readAll(app: AppName): Promise<{ lines: LogLine[]; end: string }> {
  const lines: LogLine[] = [];
  for await (const chunk of reader.follow(app, 1, AbortSignal.timeout(20_000))) {
    if ('end' in chunk) return { lines, end: chunk.end };
    lines.push(...chunk.lines);
  }
  throw new Error('no end');
}

const output = (text: string): LogLine => ({ kind: 'output', text });

describe('a log', () => {
  test('arrives whole and in order, with its kinds, at every follower', async () => {
    const { app, writer, end } = await newLog();
    const followers = [readAll(app), readAll(app)];
    const lines: LogLine[] = [
      { kind: 'heading', text: 'Building' },
      output('Grüße 世界'),
      output(''),
      { kind: 'hint', text: 'try' },
    ];
    for (const line of lines) await writer.write(line);
    await writer.flush();
    followers.push(readAll(app));
    await end('live');
    for (const follower of followers) expect(await follower).toMatchObject({ lines, end: 'live' });
  });

  test('has its secrets masked and its long lines cut', async () => {
    const { app, writer, end } = await newLog({ headBytes: 1e6, tailBytes: 1e5, lineBytes: 20 });
    await writer.write(output('a secret here'), output('x'.repeat(50)));
    await writer.flush();
    await end('live');
    expect((await readAll(app)).lines.map((line) => line.text)).toEqual([
      'a *** here',
      `${'x'.repeat(20)} ... (30 characters cut)`,
    ]);
  });

  test('keeps head and tail of a flood, and every line of ours', async () => {
    const { app, writer, end } = await newLog({ headBytes: 1000, tailBytes: 200, lineBytes: 100 });
    for (let line = 0; line < 5000; line += 1) await writer.write(output(`line ${line}, of a flood`));
    await writer.write(output('the secret of the tail'), { kind: 'heading', text: 'next step' });
    await writer.flush();
    await end('live');
    const texts = (await readAll(app)).lines.map((line) => line.text);
    expect(texts[0]).toBe('line 0, of a flood');
    expect(texts.some((text) => /^\.\.\. \d+ lines \(0\.1 MiB\) not kept/.test(text))).toBe(true);
    expect(texts.at(-3)).toBe('line 4999, of a flood');
    expect(texts.at(-2)).toBe('the *** of the tail');
    expect(texts.at(-1)).toBe('next step');
    expect(texts.length).toBeLessThan(150);
  });

  test('takes nothing from a worker that lost the app', async () => {
    const { app, writer, end, connection } = await newLog();
    await writer.write(output('mine'));
    await writer.flush();
    await connection.hset(`gantry:app:${app}`, 'fence', 2);
    await writer.write(output('too late'));
    await writer.flush();
    await end('superseded');
    expect((await readAll(app)).lines).toEqual([output('mine')]);
  });

  test('has each line once, however often the connection breaks before the answer', async () => {
    await using network = await Network.before(redis.process.socket, 1);
    network.slow(5, 20);
    const far = patientRedis({ url: `redis://127.0.0.1:${network.port}` });
    const { app, writer, end } = await newLog(undefined, far);
    network.breakAtRandom(500);
    for (let line = 0; line < 1200; line += 1) {
      await writer.write(output(`line ${line}`));
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    network.mend();
    await writer.flush();
    await end('live');
    far.disconnect();
    const wanted = Array.from({ length: 1200 }, (_, line) => output(`line ${line}`));
    expect((await readAll(app)).lines).toEqual(wanted);
  });

  test('is read from its file once Redis has forgotten it', async () => {
    const { app, writer, end, connection } = await newLog();
    await writer.write(output('kept'));
    await writer.flush();
    await end('failed');
    await reader.archive(app, 1, 'failed');
    await reader.archive(app, 1, 'failed');
    expect(await connection.ttl(`gantry:log:${app}:1`)).toBeGreaterThan(0);
    await connection.del(`gantry:log:${app}:1`);
    expect(await readAll(app)).toMatchObject({ lines: [output('kept')], end: 'failed' });
  });

  test('is put into its file again when a power cut has left an empty one', async () => {
    const { app, writer, end, connection } = await newLog();
    await writer.write(output('kept'));
    await writer.flush();
    await end('live');
    await reader.archive(app, 1, 'live');
    await truncate(join(redis.dir, 'logs', app, '1.gz'));
    expect(await readAll(app)).toMatchObject({ lines: [output('kept')], end: 'live' });
    await reader.archive(app, 1, 'live');
    await connection.del(`gantry:log:${app}:1`);
    expect(await readAll(app)).toMatchObject({ lines: [output('kept')], end: 'live' });
  });

  test('is followed by many at once over one connection, each at its own pace', async () => {
    const logs = await Promise.all(Array.from({ length: 20 }, () => newLog()));
    const followers = logs.flatMap(({ app }) => [readAll(app), readAll(app)]);
    for (let line = 0; line < 50; line += 1) {
      for (const { writer } of logs) await writer.write(output(`line ${line}`));
      if (line % 10 === 0) await new Promise((resolve) => setTimeout(resolve, 5));
    }
    for (const { writer, end } of logs) {
      await writer.flush();
      await end('live');
    }
    for (const follower of followers) expect((await follower).lines).toHaveLength(50);
  });

  test('stops being followed when the follower leaves', async () => {
    const { app } = await newLog();
    const leaving = new AbortController();
    const following = reader.follow(app, 1, leaving.signal).next();
    leaving.abort(new Error('gone'));
    await expect(following).rejects.toThrow('gone');
  });
});
