import { readdir, readFile } from 'node:fs/promises';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { appRepository, Rig } from '../support/rig.ts';

let rig: Rig;
beforeAll(async () => {
  rig = await Rig.start({ GANTRY_HEALTH_TIMEOUT: '10', GANTRY_HOOK_TIMEOUT: '15' });
});
afterAll(() => rig[Symbol.asyncDispose]());
beforeEach(() => rig.explainFailures());

const values: Record<string, string> = {
  LINES: 'first line\nsecond line\n\nlast line\n',
  QUOTES: `single ' double " backtick \` back\\slash $HOME \${HOME} $(id) %41 & # ; |`,
  UNICODE: 'Grüße, 世界 🚀 \u202e',
  SPACES: '  leading and trailing  ',
  EMPTY: '',
  LARGE: 'x'.repeat(100 * 1024),
};

describe('variables', () => {
  test.each(['buildkit', 'legacy'])(
    'arrive byte for byte in hook, %s build and container',
    async (builder) => {
      const app = `env-${builder}`;
      // Every value is written to a file where it is seen; the container serves what it has and what was built in.
      const args = Object.keys(values)
        .map((name) => `ARG ${name}`)
        .join('\n');
      const keep = Object.keys(values)
        .map((name) => `printf %s "$${name}" > /app/built/${name}`)
        .join(' && ');
      await using repo = await appRepository('web', {
        Dockerfile: `FROM gantry-test/node:1\n${args}\nCOPY . /app\nRUN mkdir /app/built && ${keep}\nCMD ["node","/app/server.js"]\n`,
        'server.js': `
        const fs = require('node:fs');
        const read = (dir) => Object.fromEntries(fs.readdirSync(dir).map((name) => [name, fs.readFileSync(dir + '/' + name, 'utf8')]));
        require('node:http').createServer((req, res) => {
          res.end(JSON.stringify(req.url === '/env' ? process.env : req.url === '/built' ? read('/app/built') : req.url === '/hook' ? read('/app/hooked') : 'ok'));
        }).listen(process.env.PORT);`,
        'hook.sh': {
          executable: true,
          content: `#!/bin/sh\nmkdir hooked\n${Object.keys(values)
            .map((name) => `printf %s "$${name}" > hooked/${name}`)
            .join('\n')}\n`,
        },
      });
      await rig.setEnv(app, {
        ...values,
        CC_PRE_BUILD_HOOK: 'hook.sh',
        CC_DOCKER_BUILDX: String(builder === 'buildkit'),
      });
      const push = await repo.push(await rig.pushUrl(app));
      expect(push.stderr).toMatch(/is live/);
      for (const place of ['/env', '/built', '/hook']) {
        expect({ place, ...JSON.parse((await rig.request(app, place)).body) }).toMatchObject({
          place,
          ...values,
        });
      }
    },
  );

  test('are set, listed and unset by the command line; a file and standard input keep them off it', async () => {
    await rig.api('POST', '/apps', { name: 'cli' });
    expect((await rig.gantry('env', 'set', 'GREETING=hello world', 'PORT=3000', '--app', 'cli')).code).toBe(
      0,
    );
    expect(
      (await rig.gantryWith('from stdin\nline two', 'env', 'set', 'SECRET=-', '--app', 'cli')).code,
    ).toBe(0);
    const list = await rig.gantry('env', 'list', '--app', 'cli', '--json');
    expect(JSON.parse(list.stdout)).toEqual({
      GREETING: 'hello world',
      PORT: '3000',
      SECRET: 'from stdin\nline two',
    });
    expect((await rig.gantry('env', 'unset', 'SECRET', '--app', 'cli')).code).toBe(0);
    expect((await rig.gantry('env', '--app', 'cli')).stdout).toBe('GREETING="hello world"\nPORT=3000\n');
  });

  test.each([
    ['PORT=0', /PORT must be a port number/],
    ['PORT=65536', /PORT must be a port number/],
    ['PORT=80;x', /PORT must be a port number/],
    ['CC_DOCKER_EXPOSED_HTTP_PORT=0', /CC_DOCKER_EXPOSED_HTTP_PORT must be a port number/],
    ['CC_DOCKERFILE=../../etc/passwd', /CC_DOCKERFILE must be a path inside the repository/],
    ['CC_DOCKERFILE=/etc/passwd', /CC_DOCKERFILE must be a path inside the repository/],
    ['CC_HEALTH_CHECK_PATH=//evil', /CC_HEALTH_CHECK_PATH must be a path/],
    ['1DIGIT=x', /name of a variable/],
    ['WITH SPACE=x', /name of a variable/],
    ['__proto__=x', /name of a variable/],
  ])('%s is refused in one line and nothing changes', async (pair, message) => {
    await rig.api('POST', '/apps', { name: 'refused' });
    const set = await rig.gantry('env', 'set', pair, '--app', 'refused');
    expect(set.code).toBe(2);
    expect(set.stderr).toMatch(message);
    expect((await rig.gantry('env', '--app', 'refused', '--json')).stdout.trim()).toBe('{}');
  });

  test('their values are nowhere in the push, the log, the operator log or Redis', async () => {
    const secret = 'correct-horse-battery-staple';
    await using repo = await appRepository('web', {
      Dockerfile:
        'FROM gantry-test/node:1\nARG SECRET\nRUN echo "value $SECRET"; echo -n $SECRET | base64\nCOPY . /app\nCMD ["node","/app/server.js"]\n',
    });
    await rig.setEnv('canary', { SECRET: secret, CC_PRE_BUILD_HOOK: 'echo hook says $SECRET' });
    const push = await repo.push(await rig.pushUrl('canary'));
    expect(push.code).toBe(0);
    expect(push.stderr).toMatch(/hook says \(hidden\)/);
    expect(push.stderr).toMatch(/value \(hidden\)/);
    const log = await rig.gantry('logs', '--app', 'canary');
    const encoded = Buffer.from(secret).toString('base64').replace(/=+$/, '');
    for (const text of [push.stderr, log.stdout, await rig.log(), await redisDump(rig.dataDir)]) {
      expect(text.includes(secret)).toBe(false);
      expect(text.includes(encoded)).toBe(false);
    }
    // Tokens are kept as hashes only.
    expect((await redisDump(rig.dataDir)).includes(await rig.token)).toBe(false);
  });

  test('PORT is 8080, or what CC_DOCKER_EXPOSED_HTTP_PORT says, or what the app sets', async () => {
    await using repo = await appRepository('web');
    for (const [app, env, port] of [
      ['port-default', {}, '8080'],
      ['port-exposed', { CC_DOCKER_EXPOSED_HTTP_PORT: '9000' }, '9000'],
      ['port-own', { PORT: '3000' }, '3000'],
    ] as const) {
      await rig.setEnv(app, env);
      expect((await repo.push(await rig.pushUrl(app))).code).toBe(0);
      expect(JSON.parse((await rig.request(app, '/env')).body)).toMatchObject({ PORT: port });
    }
  });
});

describe('hooks', () => {
  test('run in order on the host, in the checkout, unprivileged, and what they make is built in', async () => {
    await using repo = await appRepository('web');
    await rig.setEnv('hooks', {
      CC_PRE_BUILD_HOOK: 'echo pre-build as $(id -un) in $PWD; echo -n from-the-hook > version',
      CC_POST_BUILD_HOOK: 'echo post-build',
      CC_PRE_RUN_HOOK: 'echo pre-run',
      CC_RUN_SUCCEEDED_HOOK: 'echo inside; cat /app/version',
    });
    const push = await repo.push(await rig.pushUrl('hooks'));
    expect(push.code).toBe(0);
    const said = [
      ...push.stderr.matchAll(/(pre-build as gantry-hook|post-build|pre-run|inside)(?= |$)/gm),
    ].map((match) => match[1]);
    expect(said).toEqual(['pre-build as gantry-hook', 'post-build', 'pre-run', 'inside']);
    expect((await rig.request('hooks')).body).toBe('from-the-hook');
  });

  test('see nothing of the data folder and leave no process behind', async () => {
    await using repo = await appRepository('web');
    await rig.setEnv('curious', {
      CC_PRE_BUILD_HOOK: `ls ${rig.dataDir}; cat ${rig.dataDir}/admin-token; cat /proc/1/environ; (setsid sleep 4242 &) ; id -u; true`,
    });
    const push = await repo.push(await rig.pushUrl('curious'));
    expect(push.stderr).not.toContain(await rig.token);
    expect(push.stderr).toContain('admin-token: No such file');
    expect(await commandRuns('sleep\x004242')).toBe(false);
  });

  test('that never end are killed at the deadline', async () => {
    await using repo = await appRepository('web');
    await rig.setEnv('endless', { CC_PRE_BUILD_HOOK: 'trap "" TERM; sleep 1000' });
    const push = await repo.push(await rig.pushUrl('endless'));
    expect(push.stderr).toMatch(/timed out after 15\.0s/);
    expect(push.code).toBe(1);
  });

  test('after a start: their failure never fails the deployment, a failed start runs the other one', async () => {
    await using repo = await appRepository('web');
    await rig.setEnv('after', {
      CC_RUN_SUCCEEDED_HOOK: 'echo warming up; exit 9',
      CC_RUN_FAILED_HOOK: 'echo cleaning up; exit 8',
    });
    const good = await repo.push(await rig.pushUrl('after'));
    expect(good.stderr).toMatch(/warming up/);
    expect(good.stderr).toMatch(/run-succeeded hook exited with code 9; the release stays live/);
    expect(good.code).toBe(0);
    await repo.commit({ Dockerfile: 'FROM gantry-test/base:1\nCMD ["false"]\n' });
    const bad = await repo.push(await rig.pushUrl('after'));
    expect(bad.stderr).toMatch(/cleaning up/);
    expect(bad.stderr).toMatch(/failed in "health check"/);
  });
});

test('an app that is not healthy after five seconds is told why at once, not only at the deadline', async () => {
  await using repo = await appRepository('web', {
    Dockerfile: 'FROM gantry-test/base:1\nCMD ["httpd","-f","-p","3000"]\n',
  });
  const push = await repo.push(await rig.pushUrl('late'));
  expect(push.stderr).toMatch(
    /not yet: nothing listens on port 8080 inside the container, it listens on .*:3000; waiting up to 10\.0s/,
  );
  expect(push.code).toBe(1);
});

describe('builds', () => {
  test.each(['true', 'false'])(
    '.dockerignore with exceptions is honoured (CC_DOCKER_BUILDX=%s)',
    async (buildx) => {
      await using repo = await appRepository('web', {
        Dockerfile:
          'FROM gantry-test/node:1\nCOPY . /app\nRUN cd /app && find . -type f | sort > /list\nCMD ["node","-e","require(\'node:http\').createServer((q,s)=>s.end(require(\'node:fs\').readFileSync(\'/list\'))).listen(process.env.PORT)"]\n',
        '.dockerignore': '*\n!kept\n!docs/**/*.md\ndocs/secret.md\n',
        kept: '1',
        dropped: '1',
        'docs/a/b.md': '1',
        'docs/a/b.txt': '1',
        'docs/secret.md': '1',
      });
      const app = `ignore-${buildx}`;
      await rig.setEnv(app, { CC_DOCKER_BUILDX: buildx });
      expect((await repo.push(await rig.pushUrl(app))).stderr).toMatch(/is live/);
      expect(
        (await rig.request(app)).body
          .trim()
          .split('\n')
          .filter((name) => !/Dockerfile|dockerignore/.test(name)),
      ).toEqual(['./docs/a/b.md', './kept']);
    },
  );

  test('non-ASCII and very long lines arrive intact, control sequences do not', async () => {
    const long = 'long-'.repeat(1000);
    await using repo = await appRepository('web', {
      'say.sh': `echo "Grüße 世界 🚀"; echo ${long}end; printf '\\033[31mred\\033[0m \\033]0;title\\007 \\033[2Jgone\\n'; printf 'remote-fake\\rnot-hidden\\n'\n`,
      Dockerfile: 'FROM gantry-test/node:1\nCOPY . /app\nRUN sh /app/say.sh\nCMD ["node","/app/server.js"]\n',
    });
    const push = await repo.push(await rig.pushUrl('lines'));
    expect(push.stderr).toContain('Grüße 世界 🚀');
    expect(push.stderr).toContain(`${long}end`);
    expect(push.stderr).toMatch(/red +gone/);
    expect(push.stderr.includes('\x1b')).toBe(false);
    expect(push.stderr.includes('\x07')).toBe(false);
  });

  test('a flood of 200 MB leaves its head, a marker and its tail, and the worker small', async () => {
    await using repo = await appRepository('web');
    await rig.setEnv('flood', {
      CC_PRE_BUILD_HOOK:
        'yes 0123456789012345678901234567890123456789012345678901234567890123456789 | head -c 200000000; echo the-last-line',
    });
    const push = await repo.push(await rig.pushUrl('flood'));
    expect(push.code).toBe(0);
    expect(push.stderr).toMatch(
      /\.\.\. \d+ lines \(1[89]\d\.\d MiB\) not kept: output passed the 4 MiB limit \.\.\./,
    );
    expect(push.stderr).toContain('the-last-line');
    expect(push.stderr.length).toBeLessThan(8 * 1024 ** 2);
    const status = await readFile(`/proc/${await rig.workerPid()}/status`, 'utf8');
    expect(Number(/VmHWM:\s+(\d+) kB/.exec(status)?.[1])).toBeLessThan(400_000);
  });
});

async function redisDump(dataDir: string): Promise<string> {
  const files = await readdir(`${dataDir}/redis/appendonlydir`);
  return (
    await Promise.all(files.map((file) => readFile(`${dataDir}/redis/appendonlydir/${file}`, 'latin1')))
  ).join('');
}

async function commandRuns(command: string): Promise<boolean> {
  const entries = (await readdir('/proc')).filter((entry) => /^\d+$/.test(entry));
  const commands = await Promise.all(
    entries.map((entry) => readFile(`/proc/${entry}/cmdline`, 'utf8').catch(() => '')),
  );
  return commands.some((line) => line.startsWith(command));
}
