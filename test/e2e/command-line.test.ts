// oxlint-disable no-control-regex -- control characters are what a terminal gets
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { type GitResult, resultOf } from '../support/git.ts';
import { Rig, until } from '../support/rig.ts';

const cli = fileURLToPath(new URL('../../dist/cli.js', import.meta.url));

let rig: Rig;
let folder: string;
beforeAll(async () => {
  rig = await Rig.start();
  folder = await mkdtemp(join(tmpdir(), 'gantry-shell-'));
  for (const name of ['shop', 'shelf', 'blog']) await rig.api('POST', '/apps', { name });
  await writeFile(join(folder, 'gantry'), `#!/bin/sh\nexec '${process.execPath}' '${cli}' "$@"\n`, {
    mode: 0o755,
  });
  for (const shell of ['bash', 'zsh', 'fish'])
    await writeFile(join(folder, shell), (await rig.gantry('completion', shell)).stdout);
});
afterAll(async () => {
  await rm(folder, { recursive: true, force: true });
  await rig[Symbol.asyncDispose]();
});
beforeEach(() => rig.explainFailures());

const env = (): Record<string, string> => ({
  ...rig.env,
  GANTRY_URL: `http://127.0.0.1:${rig.port}`,
  HOME: folder,
  TERM: 'vt220',
  PATH: `${folder}:${process.env.PATH}`,
});

function run(command: string, ...args: string[]): Promise<GitResult> {
  const child = spawn(command, args, { env: env(), cwd: folder, stdio: 'pipe' });
  child.stdin.end();
  return resultOf(child);
}

/** What each shell offers for the last word. */
const shells: Record<string, (words: string[]) => Promise<string[]>> = {
  bash: async (words) => {
    const script = `. ${folder}/bash; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _gantry; printf '%s\\n' "\${COMPREPLY[@]}"`;
    return (await run('bash', '--norc', '-c', script, 'bash', ...words)).stdout.split('\n').filter(Boolean);
  },
  fish: async (words) => {
    const script = `source ${folder}/fish; complete -C "$argv"`;
    const { stdout } = await run('fish', '--no-config', '-c', script, words.join(' '));
    return stdout
      .split('\n')
      .map((line) => line.split('\t')[0] ?? '')
      .filter(Boolean);
  },
  zsh: (words) => zshOffers(words.join(' ')),
};
const isThere = (shell: string): boolean => spawnSync(shell, ['-c', 'exit 0']).status === 0;

/** In a terminal, because zsh completes nowhere else; Ctrl-D lists what there is and writes the line once more. */
async function zshOffers(line: string): Promise<string[]> {
  const zsh = spawn('script', ['--quiet', '--flush', '--command', 'zsh -f -i', '/dev/null'], {
    env: env(),
    cwd: folder,
  });
  const chunks: Buffer[] = [];
  zsh.stdout.on('data', (chunk: Buffer) => chunks.push(chunk));
  const screen = (): string =>
    Buffer.concat(chunks)
      .toString()
      .replaceAll(/\u001b(\[[\d;?]*)?[A-Za-z]/g, '\n');
  const exited = new Promise((resolve) => zsh.on('close', resolve));
  zsh.stdin.write(
    `PS1='%% '; stty cols 200 rows 300; autoload -U compinit && compinit -u -D; source ${folder}/zsh; echo rea''dy\n`,
  );
  await until('zsh is ready', () => /ready\r\n[^]*% /.test(screen()));
  chunks.length = 0;
  zsh.stdin.write(`${line}\u0004`);
  await until(`zsh completes "${line}"`, () => screen().split(line.trim()).length > 2).catch(
    (error: unknown) => {
      throw new Error(`${String(error)}: ${JSON.stringify(screen())}`);
    },
  );
  zsh.stdin.end('\u0015exit\n');
  await exited;
  return [...new Set(screen().split(/\s+/))];
}

describe.each(Object.keys(shells).filter(isThere))('in %s', (shell) => {
  const offers = (...words: string[]): Promise<string[]> =>
    shells[shell]?.(['gantry', ...words]) ?? Promise.resolve([]);

  test('commands, their commands, options, choices and apps are completed', async () => {
    expect(await offers('')).toEqual(
      expect.arrayContaining(['apps', 'deploys', 'tokens', 'login', 'run', 'api']),
    );
    expect(await offers('')).not.toContain('credential');
    expect(await offers('tok')).toContain('tokens');
    expect(await offers('tokens', '')).toEqual(expect.arrayContaining(['list', 'create', 'revoke']));
    expect(await offers('tokens', 'create', 'ci', '--')).toEqual(
      expect.arrayContaining(['--scope', '--expires', '--json', '--help']),
    );
    expect(await offers('apps', 'set', 'shop', '--network', '')).toEqual(
      expect.arrayContaining(['bridge', 'host']),
    );
    expect(await offers('completion', '')).toEqual(expect.arrayContaining(['bash', 'zsh', 'fish']));
    const apps = await offers('logs', '--app', 'sh');
    expect(apps).toEqual(expect.arrayContaining(['shelf', 'shop']));
    expect(apps).not.toContain('blog');
    expect(await offers('apps', 'show', 'b')).toContain('blog');
  });
});

test('bash at least is here', () => {
  expect(Object.keys(shells).filter(isThere)).toContain('bash');
});

describe('gantry api', () => {
  test('sends what is given and passes on what comes back', async () => {
    const apps = await rig.gantry('api', 'GET', '/apps?limit=1');
    expect(JSON.parse(apps.stdout)).toMatchObject({ apps: [{ name: 'blog' }] });
    const set = await rig.gantryWith('{"env":{"A":"1"}}', 'api', 'patch', 'apps/shop/env', '--data', '-');
    expect(set.stdout).toBe('{"env":{"A":"1"}}');
    const etag = await rig.gantry(
      'api',
      'PATCH',
      '/api/v1/apps/shop/env',
      '-H',
      'If-Match: "0"',
      '-d',
      '{"env":{}}',
    );
    expect(JSON.parse(etag.stdout)).toMatchObject({ status: 412, code: 'PRECONDITION_FAILED' });
    expect(etag.code).toBe(5);
    expect((await rig.gantry('api', 'GET', '/apps/nothing/env')).code).toBe(4);
    expect((await rig.gantry('api', 'POST', '/apps', '--data', '{')).code).toBe(2);
  });
});

/** Processor time, which the other work of this machine changes least; the best of seven. */
function millisecondsOf(...args: string[]): number {
  const script = `TIMEFORMAT='%3U %3S'; time "$@" >/dev/null`;
  const times = Array.from({ length: 7 }, () => {
    const { stderr } = spawnSync('bash', ['-c', script, 'bash', process.execPath, ...args], {
      encoding: 'utf8',
      env: { ...env(), LC_ALL: 'C' },
    });
    const [user = 0, system = 0] = stderr.trim().split(' ').map(Number);
    return (user + system) * 1000;
  });
  return Math.min(...times);
}

describe('the command line starts quickly', () => {
  // Measured: 65 ms, of which node itself takes 30. On a machine that is slow or busy, node is the yardstick.
  test.each([[['--version']], [['--help']], [['tokens', '--help']], [['completion', 'bash']]])(
    'gantry %j: within 150 ms',
    (args) => {
      const node = millisecondsOf('-e', '0');
      expect(millisecondsOf(cli, ...args)).toBeLessThan(Math.max(150, 3 * node));
    },
  );

  test('because it loads no library of the server, whatever is asked', async () => {
    for (const args of [
      ['--help'],
      ['apps'],
      ['env', 'list', '--app', 'shop'],
      ['deploys', '--app', 'shop'],
      ['tokens'],
    ]) {
      const coverage = await mkdtemp(join(folder, 'loaded-'));
      execFileSync(process.execPath, [cli, ...args], { env: { ...env(), NODE_V8_COVERAGE: coverage } });
      const [file = ''] = await readdir(coverage);
      const { result } = JSON.parse(await readFile(join(coverage, file), 'utf8')) as {
        result: { url: string }[];
      };
      const packages = result.flatMap(
        ({ url }) => /\/node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(url)?.[1] ?? [],
      );
      expect([...new Set(packages)]).toEqual(['commander']);
    }
  });

  test('and says which it is', async () => {
    const { version } = JSON.parse(
      await readFile(fileURLToPath(new URL('../../package.json', import.meta.url)), 'utf8'),
    ) as { version: string };
    expect((await rig.gantry('--version')).stdout).toBe(`${version}\n`);
  });
});
