import { appendFile, mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { AppName } from '../../src/domain/app.ts';
import type { AppLogLine } from '../../src/domain/app-log.ts';
import { AppLogReader, type AppLogStart } from '../../src/store/app-log-reader.ts';
import { AppLogWriter } from '../../src/store/app-log-writer.ts';

let root: string;
let folder: string;
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'gantry-app-log-'));
  folder = join(root, 'shop');
});
afterEach(() => rm(root, { recursive: true, force: true }));

const one = 'a'.repeat(64);
const alive = new Set([one]);
const limit = 64 * 1024;
const noTrouble = (error: unknown): never => {
  throw error;
};
const open = (): Promise<AppLogWriter> => AppLogWriter.open(folder, limit, noTrouble);

const timeOf = (second: number): string =>
  `${new Date(1_800_000_000_000 + second * 1000).toISOString().slice(0, 19)}.000000000Z`;

function line(text: string, second = 0, more: Partial<AppLogLine> = {}): AppLogLine {
  return {
    at: timeOf(second),
    container: one,
    release: 1,
    instance: 0,
    stream: 'stdout',
    text,
    records: 1,
    ...more,
  };
}

async function read(start: AppLogStart): Promise<string[]> {
  const found: string[] = [];
  const { signal } = new AbortController();
  for await (const lines of new AppLogReader(root).read('shop' as AppName, start, false, signal))
    for (const numbered of lines)
      found.push(`${numbered.id} ${'line' in numbered ? numbered.line.text : `missing ${numbered.missing}`}`);
  return found;
}

describe('the log of an app', () => {
  test('has the same numbers for the same lines, from every start', async () => {
    const writer = await open();
    await writer.append([line('one', 1), line('two', 2)], alive);
    await writer.append([line('a long space   ', 3)], alive);
    const all = ['1 one', '2 two', '3 a long space   '];
    expect(await read({})).toEqual(all);
    expect(await read({ after: 1 })).toEqual(all.slice(1));
    expect(await read({ lines: 1 })).toEqual(all.slice(2));
    expect(await read({ lines: 9 })).toEqual(all);
    expect(await read({ since: new Date(timeOf(2)) })).toEqual(all.slice(1));
    expect(await read({ since: new Date(timeOf(4)) })).toEqual([]);
    expect(await read({ since: new Date(timeOf(1)), lines: 1 })).toEqual(all.slice(2));
  });

  test('of an app that printed nothing is empty', async () => {
    expect(await read({})).toEqual([]);
    expect(await read({ lines: 5 })).toEqual([]);
  });

  test('tells the next process how far each stream was read, although the last row is torn', async () => {
    const writer = await open();
    await writer.append([line('one', 1), line('two', 2, { stream: 'stderr', records: 3 })], alive);
    const [name = ''] = await readdir(folder);
    await appendFile(join(folder, name), `${timeOf(3)} o 1 aaaaaaa`);
    const next = await open();
    const position = { stdout: { at: timeOf(1), records: 1 }, stderr: { at: timeOf(2), records: 3 } };
    expect(next.position(one)).toEqual(position);
    await next.append([line('three', 3)], alive);
    expect(await read({})).toEqual(['1 one', '2 two', '3 three']);
    expect((await open()).position(one)).toEqual({ ...position, stdout: { at: timeOf(3), records: 1 } });
  });

  test('forgets its oldest lines at its size, says how many, and still knows how far silent containers were read', async () => {
    const writer = await open();
    const silent = 'b'.repeat(64);
    const both = new Set([one, silent]);
    await writer.append([line('only once', 1, { container: silent })], both);
    for (let number = 1; number <= 2000; number += 1)
      await writer.append([line(`${number} ${'x'.repeat(80)}`, number)], both);
    let bytes = 0;
    for (const name of await readdir(folder)) bytes += (await stat(join(folder, name))).size;
    expect(bytes).toBeLessThan(limit * 1.02);
    const found = await read({});
    const [, first] = /^\d+ missing (\d+)$/.exec(found[0] ?? '') ?? [];
    expect(found[1]).toMatch(new RegExp(`^${Number(first) + 1} ${first} x`));
    expect(found.at(-1)).toMatch(/^2001 2000 x/);
    expect(found).toHaveLength(2001 - Number(first) + 1);
    expect(await read({ after: 3 })).toEqual([`${first} missing ${Number(first) - 3}`, ...found.slice(1)]);
    expect(await read({ lines: 5 })).toEqual(found.slice(-5));
    expect((await read({ since: new Date(timeOf(1990)) }))[0]).toMatch(/^1991 1990 x/);
    expect((await open()).position(silent)).toEqual({ stdout: { at: timeOf(1), records: 1 } });
  });

  test('is followed from part to part while it is written', async () => {
    const writer = await open();
    const stop = new AbortController();
    const seen: number[] = [];
    const following = (async () => {
      const lines = new AppLogReader(root).read('shop' as AppName, {}, true, stop.signal);
      for await (const some of lines) {
        seen.push(...some.map(({ id }) => id));
        if (seen.at(-1) === 600) return;
      }
    })();
    for (let number = 1; number <= 600; number += 1)
      await writer.append([line('y'.repeat(40), number)], alive);
    await following;
    expect(seen).toEqual(Array.from({ length: 600 }, (_, index) => index + 1));
  });

  test('counts what cannot be written, and says so with the next line that can', async () => {
    const troubles: unknown[] = [];
    await (await open()).append([line('one', 1)], alive);
    const writer = await AppLogWriter.open(folder, limit, (error) => troubles.push(error));
    const [name = ''] = await readdir(folder);
    const before = await readFile(join(folder, name));
    // A folder in its place: nothing can be written there, whoever one is.
    await rm(join(folder, name));
    await mkdir(join(folder, name));
    await writer.append([line('two', 2), line('three', 3)], alive);
    await writer.append([line('four', 4)], alive);
    expect(troubles).toHaveLength(2);
    await rm(join(folder, name), { recursive: true });
    await writeFile(join(folder, name), before);
    await writer.append([line('five', 5)], alive);
    expect(await read({})).toEqual([
      '1 one',
      '2 ... 3 lines not kept: they could not be written to disk ...',
      '3 five',
    ]);
  });
});
