import { get } from 'node:http';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { DockerodeEngine } from '../../src/docker/dockerode-engine.ts';
import { EngineClient } from '../../src/docker/engine-client.ts';
import { hasRunOutOfMemory } from '../../src/docker/out-of-memory.ts';
import { labels } from '../../src/domain/container.ts';
import { baseImage } from '../support/base-image.ts';
import { EngineRun, startedId, until } from './engine-run.ts';

let run: EngineRun;
const never = new AbortController().signal;

beforeAll(async () => {
  run = await EngineRun.start();
});

afterAll(async () => {
  await run?.[Symbol.asyncDispose]();
});

describe('a container', () => {
  it('has all of its output followed, a last line without a line break as well', async () => {
    const follow = async (host: number): Promise<string[]> => {
      const id = await run.start('echo first; echo other >&2; printf last', { host });
      const lines: string[] = [];
      await run.engine.followOutput(id, async (some) => void lines.push(...some), never);
      await run.engine.stopAndRemove(id, 0);
      return lines.sort();
    };
    for (let round = 0; round < 5; round += 1)
      expect(await Promise.all([10, 11, 12, 13].map(follow))).toEqual(
        Array(4).fill(['first', 'last', 'other']),
      );
  });

  it('answers at its fixed address, under limits it can see', async () => {
    const id = await run.start('echo hello > /www/index.html; exec httpd -f -p 8080 -h /www', {
      host: 5,
      memoryBytes: 64 * 1024 * 1024,
      env: { GREETING: 'hi there' },
    });
    const { prefix } = await run.network();
    expect(await until('an answer', async () => await fetched(`http://${prefix}.5:8080/`))).toBe('hello\n');

    const state = await run.engine.inspect(id);
    expect(state).toMatchObject({
      id,
      running: true,
      restartCount: 0,
      outOfMemory: false,
      address: `${prefix}.5`,
    });
    expect(state?.exitCode).toBeUndefined();
    expect(state?.pid).toBeGreaterThan(1);
    expect(state?.labels).toMatchObject(run.labels);
    expect(await run.engine.listContainers(run.label)).toContainEqual(state);

    const lines: string[] = [];
    await run.engine.exec(
      id,
      'cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max 2>/dev/null; cat /sys/fs/cgroup/memory/memory.memsw.limit_in_bytes 2>/dev/null; cat /sys/fs/cgroup/memory.swap.max 2>/dev/null; grep -E "NoNewPrivs" /proc/self/status; env | grep GREETING; cat /proc/1/comm',
      async (line) => {
        lines.push(line);
      },
      { timeoutMs: 10_000, signal: never },
    );
    expect(lines).toContain('67108864');
    // cgroup v1 counts memory and swap together, v2 swap alone.
    expect(lines.slice(1)).toContainEqual(expect.stringMatching(/^(67108864|0)$/));
    expect(lines).toContain('NoNewPrivs:\t1');
    expect(lines).toContain('GREETING=hi there');
    expect(lines.at(-1)).toMatch(/init/);

    const raw = await run.docker.getContainer(id).inspect();
    expect(raw.NetworkSettings.Ports).toEqual({});
    expect(raw.HostConfig.LogConfig).toEqual({
      Type: 'local',
      Config: { 'max-size': '10m', 'max-file': '3', compress: 'false' },
    });
    await run.engine.stopAndRemove(id, 0);
    expect(await run.engine.inspect(id)).toBeUndefined();
  });

  it('stays down when it crashes, until it is kept', async () => {
    const id = await run.start('echo broken >&2; exit 3', { host: 6 });
    const state = await run.engine.waitForExit(id, never);
    expect(state).toMatchObject({ running: false, exitCode: 3, restartCount: 0, outOfMemory: false });
    expect(await run.engine.waitForExit(id, never)).toEqual(state);
    expect(await run.engine.lastOutput(id, 10)).toEqual(['broken']);
    expect((await run.engine.inspect(id))?.address).toBe(`${(await run.network()).prefix}.6`);
    await run.engine.stopAndRemove(id, 1000);
  });

  it('is restarted by the engine at the same address once it is kept, and that is visible', async () => {
    const id = await run.start('sleep 1000', { host: 7 });
    await run.engine.keep(id);
    const before = await run.engine.inspect(id);
    const exited = run.engine.waitForExit(id, never);
    const inside = await run.docker.getContainer(id).top();
    const pid = inside.Processes.find((row: string[]) => row.at(-1) === 'sleep 1000')?.[1];
    process.kill(Number(pid), 'SIGKILL');
    expect((await exited)?.restartCount).toBeDefined();
    const after = await until('the restart', async () => {
      const state = await run.engine.inspect(id);
      return state?.running && state.restartCount === 1 ? state : undefined;
    });
    expect(after.address).toBe(before?.address);
    expect(await run.engine.waitForExit(id, never)).toMatchObject({ restartCount: 1 });
    await run.engine.stopAndRemove(id, 0);
  });

  it('gets SIGTERM, the grace time and then SIGKILL', async () => {
    const polite = await run.start('trap "exit 0" TERM; while :; do sleep 0.05; done', { host: 8 });
    const deaf = await run.start('trap "" TERM; while :; do sleep 0.05; done', { host: 9 });
    const began = performance.now();
    await run.engine.stopAndRemove(polite, 30_000);
    expect(performance.now() - began).toBeLessThan(20_000);
    const beganDeaf = performance.now();
    await run.engine.stopAndRemove(deaf, 1_000);
    expect(performance.now() - beganDeaf).toBeGreaterThan(950);
    expect(await run.engine.inspect(deaf)).toBeUndefined();
    await run.engine.stopAndRemove(deaf, 1_000);
  });

  it('says that memory ran out, also when it was not the first process that was killed', async () => {
    // The engine never hears of a process that is dead before its start has returned, so this one waits for us.
    const id = await run.start('until [ -e /go ]; do sleep 0.02; done; tail -c 200000000 /dev/zero; exit 5', {
      host: 11,
      memoryBytes: 16 * 1024 * 1024,
    });
    await run.engine.exec(id, '> /go', async () => undefined, { timeoutMs: 10_000, signal: never });
    expect(await run.engine.waitForExit(id, never)).toMatchObject({ outOfMemory: true, exitCode: 5 });
    // The state of a container misses it now and then, so the log of events has to say the same.
    const client = new EngineClient();
    expect(await hasRunOutOfMemory(client, await run.docker.getContainer(id).inspect())).toBe(true);
    await run.engine.stopAndRemove(id, 0);

    const other = await run.start('exit 5', { host: 11, memoryBytes: 16 * 1024 * 1024 });
    expect(await run.engine.waitForExit(other, never)).toMatchObject({ outOfMemory: false, exitCode: 5 });
    await run.engine.stopAndRemove(other, 0);
  });

  it.each([
    [
      'a command that is not in the image',
      ['nosuchcommand', '--flag'],
      'cannot start "nosuchcommand": it is not in the image',
    ],
    [
      'a command without the right to be run',
      ['/etc/passwd'],
      'cannot start "/etc/passwd": the file is not executable',
    ],
  ])('explains %s once it has exited', async (_, cmd, reason) => {
    const spec = await run.spec(await run.image(cmd), { host: 12 });
    const id = startedId(await run.engine.startContainer(spec));
    await run.engine.waitForExit(id, AbortSignal.timeout(10_000));
    expect(await run.engine.startFailure(id)).toContain(reason);
    await run.engine.stopAndRemove(id, 0);
  });

  it('has nothing to explain about a command that ran and failed', async () => {
    const spec = await run.spec(await run.image(['sh', '-c', 'exit 127']), { host: 12 });
    const id = startedId(await run.engine.startContainer(spec));
    await run.engine.waitForExit(id, AbortSignal.timeout(10_000));
    expect(await run.engine.startFailure(id)).toBeUndefined();
    await run.engine.stopAndRemove(id, 0);
  });

  it('explains an image without a command, without the image, and an address in use', async () => {
    const noCommand = await run.spec(baseImage, { host: 13 });
    expect(await run.engine.startContainer(noCommand)).toEqual({
      ok: false,
      reason: 'the image has no command: add CMD to the Dockerfile',
    });
    const noImage = await run.spec('gantry-test/nowhere:9', { host: 13 });
    expect(await run.engine.startContainer(noImage)).toEqual({
      ok: false,
      reason: 'the image gantry-test/nowhere:9 is gone from the engine',
    });
    const first = await run.start('sleep 1000', { host: 13 });
    const second = await run.spec(await run.image(['sleep', '1000']), { host: 13 });
    expect(await run.engine.startContainer(second)).toEqual({
      ok: false,
      reason: 'its address in the network is in use by another container',
      lost: 'address',
    });
    for (const { name } of [noCommand, noImage, second])
      expect(await run.engine.inspect(name)).toBeUndefined();
    await run.engine.stopAndRemove(first, 0);
  });

  it('replaces what an earlier try left under its name, but nothing that is not ours', async () => {
    const spec = await run.spec(await run.image(['sleep', '1000']), { host: 14 });
    const first = startedId(await run.engine.startContainer(spec));
    const second = startedId(await run.engine.startContainer(spec));
    expect(second).not.toBe(first);
    expect(await run.engine.inspect(first)).toBeUndefined();
    const foreign = { ...spec, labels: { ...spec.labels, [labels.store]: 'another' } };
    expect(await run.engine.startContainer(foreign)).toMatchObject({
      ok: false,
      reason: expect.stringContaining('not ours'),
    });
    expect(await run.engine.inspect(second)).toMatchObject({ running: true });
    await Promise.all([run.engine.stopAndRemove(second, 0), run.engine.stopAndRemove(second, 0)]);
  });

  it('leaves what somebody else has put under its name since, after its own lease', async () => {
    const spec = await run.spec(await run.image(['sleep', '1000']), { host: 16 });
    const by = (fence: number) => ({ ...spec, labels: { ...spec.labels, [labels.fence]: String(fence) } });
    const newer = startedId(await run.engine.startContainer(by(8)));
    expect(await run.engine.startContainer(by(7))).toMatchObject({
      ok: false,
      reason: expect.stringContaining('from the worker that has the app now'),
    });
    expect(await run.engine.inspect(newer)).toMatchObject({ running: true });
    // And of one that has it after that.
    const newest = startedId(await run.engine.startContainer(by(9)));
    expect(await run.engine.inspect(newer)).toBeUndefined();
    await run.engine.stopAndRemove(newest, 0);
  });

  it('is started once when two workers start it at the same time', async () => {
    const spec = await run.spec(await run.image(['sleep', '1000']), { host: 15 });
    const other = new DockerodeEngine();
    await Promise.all([run.engine.startContainer(spec), other.startContainer(spec)]);
    const found = (await run.engine.listContainers(run.label)).filter(({ name }) => name === spec.name);
    expect(found.length).toBeLessThanOrEqual(1);
    await run.engine.stopAndRemove(spec.name, 0);
  });

  it('shows the last lines of what it printed', async () => {
    const script =
      'i=0; while [ $i -lt 50 ]; do echo "line $i"; i=$((i+1)); done; printf "\\033[31mred\\033[0m\\n" >&2; head -c 20000 /dev/zero | tr "\\0" x; echo; printf unfinished';
    const id = await run.start(script, { host: 16 });
    await run.engine.waitForExit(id, never);
    const lines = await run.engine.lastOutput(id, 5);
    expect(lines.length).toBeLessThanOrEqual(5);
    expect(lines).toContain('unfinished');
    const many = await run.engine.lastOutput(id, 100);
    expect(many).toContain('red');
    expect(many.filter((line) => line.startsWith('line '))).toEqual(
      Array.from({ length: 50 }, (_, i) => `line ${i}`),
    );
    expect(many).toContain(`${'x'.repeat(499)}…`);
    expect(await run.engine.lastOutput('gantry-test-nowhere', 5)).toEqual([]);
    await run.engine.stopAndRemove(id, 0);
  });

  it('can be waited for: an abort rejects, a removal resolves', async () => {
    const id = await run.start('sleep 1000', { host: 17 });
    const controller = new AbortController();
    const aborted = run.engine.waitForExit(id, controller.signal);
    controller.abort(new Error('enough'));
    await expect(aborted).rejects.toThrow('enough');
    const waiting = run.engine.waitForExit(id, never);
    await run.engine.stopAndRemove(id, 0);
    expect((await waiting)?.running ?? false).toBe(false);
    expect(await run.engine.waitForExit(id, never)).toBeUndefined();
  });
});

async function fetched(url: string): Promise<string | undefined> {
  return await new Promise((resolve) => {
    const request = get(url, { timeout: 1000 }, (response) => {
      let text = '';
      response.on('data', (chunk) => {
        text += String(chunk);
      });
      response.on('end', () => resolve(text));
    });
    request.on('error', () => resolve(undefined));
    request.on('timeout', () => request.destroy());
  });
}
