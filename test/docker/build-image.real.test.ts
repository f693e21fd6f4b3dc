import { createHash } from 'node:crypto';
import { chmod, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { baseImage } from '../support/base-image.ts';
import { builders, EngineRun, type Files, processesRunning, until } from './engine-run.ts';

let run: EngineRun;

beforeAll(async () => {
  run = await EngineRun.start();
});

afterAll(async () => {
  await run?.[Symbol.asyncDispose]();
});

describe.each(builders)('a build with %s', (builder) => {
  it('names the image, its size and its steps, and runs what was built', async () => {
    const files = { Dockerfile: run.dockerfile('RUN echo built > /mark', 'COPY hello /hello'), hello: 'hi' };
    const { result, events, tag } = await run.build(builder, files);
    expect(result).toMatchObject({ ok: true, image: { id: expect.stringMatching(/^sha256:[0-9a-f]{64}$/) } });
    expect(result.ok && result.image.bytes).toBeGreaterThan(1_000_000);
    const steps = events.filter((event) => event.kind === 'step').map((event) => event.text);
    expect(steps[0]).toMatch(new RegExp(`^\\[1/\\d\\] FROM ${baseImage}$`));
    expect(steps).toContainEqual(expect.stringMatching(/^\[\d\/\d\] RUN echo built > \/mark$/));
    expect(result.ok && result.steps).toBe(steps.length);
    expect((await run.printed(tag, ['cat', '/mark', '/hello'])).toString()).toBe('built\nhi');
    expect(await run.engine.inspectImage(tag)).toMatchObject({ workingDir: '/' });
    expect(await run.engine.listImages(run.label, 'gantry-test/nothing')).toContainEqual({
      id: result.ok ? result.image.id : '',
      tags: [tag],
      labels: expect.objectContaining(run.labels),
    });
  });

  it('says that every step was cached the second time, unless told not to use the cache', async () => {
    const files = { Dockerfile: run.dockerfile(`RUN echo once ${builder} > /once`) };
    await run.build(builder, files);
    const again = await run.build(builder, files);
    expect(again.result).toMatchObject({ ok: true });
    expect(again.result.ok && again.result.cachedSteps).toBe(again.result.ok && again.result.steps);
    expect(again.events).toContainEqual({
      kind: 'step',
      text: expect.stringMatching(/RUN echo once .* \(cached\)$/),
    });
    const fresh = await run.build(builder, files, { noCache: true });
    expect(fresh.result).toMatchObject({ ok: true });
    expect(fresh.events).not.toContainEqual({ kind: 'step', text: expect.stringContaining('(cached)') });
  });

  it('says which instruction failed with which exit code, after all it printed', async () => {
    const failing = 'echo first; echo "to stderr" >&2; printf "no newline"; exit 17';
    const { result, lines } = await run.build(builder, {
      Dockerfile: run.dockerfile('RUN true', `RUN ${failing}`, 'RUN echo never'),
    });
    expect(result).toEqual({
      ok: false,
      reason: `RUN ${failing} exited with code 17`,
      command: `RUN ${failing}`,
      exitCode: 17,
    });
    expect(lines.toSorted()).toEqual(['first', 'no newline', 'to stderr']);
  });

  it('reads a build of several stages to its end', async () => {
    const { result, tag } = await run.build(builder, {
      Dockerfile: `${run.dockerfile('RUN echo one > /one').replace('\n', ' AS first\n')}${run.dockerfile('COPY --from=first /one /two')}`,
    });
    expect(result).toMatchObject({ ok: true });
    expect((await run.printed(tag, ['cat', '/two'])).toString()).toBe('one\n');
    const failed = await run.build(builder, {
      Dockerfile: `${run.dockerfile('RUN echo one > /one').replace('\n', ' AS first\n')}${run.dockerfile('COPY --from=first /one /two', 'RUN exit 9')}`,
    });
    expect(failed.result).toMatchObject({ ok: false, command: 'RUN exit 9', exitCode: 9 });
  });

  it.each([
    ['a file that is not there', ['COPY missing /x'], /missing/, 'COPY missing /x'],
    [
      'a base image that cannot be had',
      ['FROM gantry-test/nowhere:1'],
      /FROM gantry-test\/nowhere:1: /,
      'FROM gantry-test/nowhere:1',
    ],
    ['an unknown instruction', ['RUNN true'], /unknown instruction: RUNN/, undefined],
    ['a command that is not there', ['RUN ["/nope"]'], /RUN \["\/nope"\]/, 'RUN ["/nope"]'],
  ])('explains %s in one line', async (_, instructions, reason, command) => {
    const { result } = await run.build(builder, { Dockerfile: run.dockerfile(...instructions) });
    expect(result).toMatchObject({ ok: false, reason: expect.stringMatching(reason) });
    expect(!result.ok && result.command).toBe(command);
    expect(!result.ok && result.reason).not.toContain('\n');
  });

  it('reports a line while the command that printed it is still running', async () => {
    const command = `sleep 6${uniqueDigits(builder)}`;
    const { result } = await run.build(
      builder,
      { Dockerfile: run.dockerfile(`RUN echo ready; ${command} || echo ended`) },
      {
        // The command sleeps for ever unless its line gets here while it runs.
        onEvent: async ({ text }) => {
          if (text !== 'ready') return;
          const [pid = 0] = await until('the command', async () => {
            const pids = await processesRunning(command);
            return pids.length > 0 && pids;
          });
          process.kill(pid, 'SIGKILL');
        },
      },
    );
    expect(result).toMatchObject({ ok: true });
  });

  it('kills the running command and rejects with the reason when it is aborted', async () => {
    const command = `sleep 7${uniqueDigits(builder)}`;
    const controller = new AbortController();
    const built = run.build(
      builder,
      { Dockerfile: run.dockerfile(`RUN trap "" TERM INT HUP; ${command}`) },
      { signal: controller.signal },
    );
    built.catch(() => undefined);
    await until('the command to run', async () => (await processesRunning(command)).length > 0);
    const began = performance.now();
    controller.abort(new Error('superseded by a newer push'));
    await expect(built).rejects.toThrow('superseded by a newer push');
    await until('the command to be gone', async () => (await processesRunning(command)).length === 0, 5_000);
    expect(performance.now() - began).toBeLessThan(5_000);
  });

  it('passes values on byte for byte, as build arguments and as environment', async () => {
    const values: Record<string, string> = {
      LINES: 'one\ntwo\n\nfour\n',
      QUOTES: `it's "quoted" \`and\` \\back\\slashed`,
      DOLLARS: '$HOME ${PATH} $$ $(id) %41 & # ; |',
      UNICODE: 'grüße 🚀 日本語 \u2028',
      SPACES: '  both ends  ',
      EMPTY: '',
      LARGE: 'x'.repeat(100 * 1024),
    };
    const names = Object.keys(values);
    const digests = names.map((name) => `printf %s "$${name}" | sha256sum`).join('; ');
    const expected = names
      .map(
        (name) =>
          `${createHash('sha256')
            .update(values[name] ?? '')
            .digest('hex')}  -\n`,
      )
      .join('');
    const { result, lines } = await run.build(
      builder,
      { Dockerfile: run.dockerfile(...names.map((name) => `ARG ${name}`), `RUN ${digests}`) },
      { buildArgs: { ...values, UNDECLARED: 'y'.repeat(200 * 1024) } },
    );
    expect(result).toMatchObject({ ok: true });
    expect(lines.map((line) => `${line}\n`).join('')).toBe(expected);

    const container = await run.start(`${digests}; sleep 1000`, {
      env: values,
      host: builder === 'legacy' ? 3 : 4,
    });
    await until(
      'its output',
      async () => (await run.engine.lastOutput(container, 20)).length === names.length,
    );
    expect((await run.engine.lastOutput(container, 20)).map((line) => `${line}\n`).join('')).toBe(expected);
    await run.engine.stopAndRemove(container, 0);
  });

  it('names the variable that is too long for a declared build argument', async () => {
    const { result } = await run.build(
      builder,
      { Dockerfile: run.dockerfile('ARG HUGE', 'RUN true') },
      { buildArgs: { HUGE: 'x'.repeat(131_072) } },
    );
    expect(result).toMatchObject({ ok: false, reason: expect.stringContaining('HUGE') });
  });

  it('sends many variables by leaving out the undeclared ones', async () => {
    const many = Object.fromEntries(Array.from({ length: 20 }, (_, i) => [`V${i}`, '%'.repeat(30_000)]));
    const { result, lines } = await run.build(
      builder,
      { Dockerfile: run.dockerfile('ARG V7', 'ARG V8', 'RUN echo "${#V7} ${#V8} ${#V9}"') },
      { buildArgs: many },
    );
    expect(result).toMatchObject({ ok: true });
    expect(lines).toEqual(['30000 30000 0']);
  });

  it('keeps links as links and modes as modes', async () => {
    const outside = await run.folder({ secret: 'outside' });
    const folder = await run.folder({
      Dockerfile: { linkTo: 'deploy/Dockerfile.web' },
      'deploy/Dockerfile.web': run.dockerfile(
        'COPY . /app/',
        'RUN cd /app; readlink inside; readlink dangling; readlink out; stat -c "%a %n" run.sh plain; cat inside; test ! -e out && echo unreachable',
      ),
      plain: 'plain\n',
      'run.sh': '#!/bin/sh\n',
      inside: { linkTo: 'plain' },
      dangling: { linkTo: 'nowhere' },
      out: { linkTo: join(outside, 'secret') },
    });
    await chmod(join(folder, 'run.sh'), 0o755);
    await chmod(join(folder, 'plain'), 0o640);
    const { result, lines } = await run.build(builder, {}, { contextDir: folder });
    expect(result).toMatchObject({ ok: true });
    expect(lines).toEqual([
      'plain',
      'nowhere',
      join(outside, 'secret'),
      '755 run.sh',
      '640 plain',
      'plain',
      'unreachable',
    ]);
  });

  it('builds a Dockerfile in a folder, with the ignore file beside it', async () => {
    const { result, lines } = await run.build(
      builder,
      {
        'deploy/web.Dockerfile': run.dockerfile('COPY . /app/', 'RUN cd /app; ls a b 2>/dev/null'),
        'deploy/web.Dockerfile.dockerignore': 'a\ndeploy\n',
        '.dockerignore': 'b\n',
        a: '',
        b: '',
      },
      { dockerfile: 'deploy/web.Dockerfile' },
    );
    expect(lines).toEqual(['b']);
    expect(result).toMatchObject({ ok: false, exitCode: 1 });
  });

  it('builds nothing from files that cannot all be read', async () => {
    const folder = await run.folder({ Dockerfile: run.dockerfile('COPY . /app/'), a: 'a' });
    await writeFile(
      Buffer.concat([Buffer.from(`${folder}/z`), Buffer.from([0xff])]),
      'a name that is not text',
    );
    const tag = `${run.name()}:1`;
    await expect(run.build(builder, {}, { contextDir: folder, tag })).rejects.toThrow(
      'could not read the files',
    );
    expect(await run.engine.inspectImage(tag)).toBeUndefined();
  });

  it('says when .dockerignore cannot be read', async () => {
    const { result } = await run.build(builder, { Dockerfile: run.dockerfile(), '.dockerignore': '[\n' });
    expect(result).toEqual({ ok: false, reason: '.dockerignore has a pattern that cannot be read' });
  });
});

describe('both builders', () => {
  it('send the same files under .dockerignore rules with exceptions below excluded folders', async () => {
    const files: Files = {
      '.dockerignore':
        'node_modules\nbuild/*\n!build/keep\n**/*.log\n!**/important.log\n!node_modules/own/**\n',
      'node_modules/other/x': '',
      'node_modules/own/y': '',
      'build/drop/a': '',
      'build/keep/b': '',
      'deep/er/noise.log': '',
      'deep/er/important.log': '',
      'src/app': '',
      Dockerfile: run.dockerfile('COPY . /app/', 'RUN cd /app; find . -type f | sort'),
    };
    const listed = await Promise.all(
      builders.map(async (builder) => (await run.build(builder, files)).lines),
    );
    expect(listed[0]).toEqual([
      './.dockerignore',
      './Dockerfile',
      './build/keep/b',
      './deep/er/important.log',
      './node_modules/own/y',
      './src/app',
    ]);
    expect(listed[1]).toEqual(listed[0]);
  });
});

describe('BuildKit', () => {
  it('explains a syntax line whose image cannot be pulled', async () => {
    const { result } = await run.build('buildkit', {
      Dockerfile: `# syntax=docker/dockerfile:1\n${run.dockerfile()}`,
      large: Buffer.alloc(20_000_000),
    });
    expect(result).toMatchObject({
      ok: false,
      reason: expect.stringContaining('# syntax=docker/dockerfile:1'),
    });
  });

  it('leaves nothing of the contexts on the engine, but its layers stay cached', async () => {
    // A size that nobody else's context has.
    const size = 8_000_000 + Number.parseInt(run.id.slice(0, 5), 16);
    const files: Files = {
      Dockerfile: run.dockerfile('COPY small /small', 'RUN cat /small'),
      small: 's',
      large: Buffer.alloc(size),
    };
    const results = await Promise.all([1, 2, 3].map(() => run.build('buildkit', files)));
    for (const { result } of results) expect(result).toMatchObject({ ok: true });
    await run.engine.close();
    expect(
      (await cacheRecords()).filter((record) => record.Size >= size && record.Size < size + 100_000),
    ).toEqual([]);
    const { result } = await run.build('buildkit', files);
    expect(result.ok && result.cachedSteps).toBe(result.ok && result.steps);
  });

  async function cacheRecords(): Promise<{ Size: number; Description: string }[]> {
    const usage: { BuildCache: { Size: number; Description: string }[] } = await run.docker.df();
    return usage.BuildCache;
  }
});

it('refuses here-documents with the legacy builder, which newer engines silently skip', async () => {
  const { result } = await run.build('legacy', { Dockerfile: run.dockerfile('RUN <<EOF', 'echo hi', 'EOF') });
  expect(result).toMatchObject({ ok: false, reason: expect.stringContaining('line 4') });
});

/** For a `sleep` that nobody else on this machine runs. */
function uniqueDigits(builder: string): string {
  return `${Number.parseInt(run.id.slice(0, 6), 16)}${builder.length}`;
}
