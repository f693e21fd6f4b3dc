import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';

const src = fileURLToPath(new URL('../src', import.meta.url));

/** Which folder may use which; `types` only as `import type`. Everybody may use `everywhere`. */
const allowed: Record<string, { values: string[]; types?: string[] }> = {
  domain: { values: [] },
  'config.ts': { values: ['domain'] },
  'failpoint.ts': { values: [], types: ['domain'] },
  docker: { values: ['domain'] },
  store: { values: ['domain'] },
  router: { values: ['domain'], types: ['store'] },
  deploy: { values: ['domain'], types: ['docker', 'git'] },
  queue: { values: ['domain', 'store', 'deploy'] },
  git: { values: ['domain'], types: ['store', 'access', 'queue/deploy-queue.ts'] },
  'app-log': { values: ['domain'], types: ['store', 'docker'] },
  // In an image of its own, so nothing of ours but types.
  gate: { values: [], types: ['domain'] },
  gates: { values: ['domain'], types: ['store', 'docker'] },
  access: { values: ['domain'], types: ['store'] },
  webhooks: { values: ['domain'], types: ['store'] },
  health: { values: ['domain'] },
  backup: { values: ['domain'], types: ['store', 'git'] },
  api: { values: ['domain'], types: ['store', 'access', 'health'] },
  server: { values: [], types: ['access'] },
  doctor: { values: ['domain', 'docker', 'store', 'router', 'deploy'], types: ['api/contract'] },
  commands: { values: ['domain'], types: ['api/contract'] },
  cli: { values: [], types: ['commands'] },
};

/** They put the parts together, so they may use all of them; nobody uses them but each other and the command line. */
const roots = [
  'cli.ts',
  'server.ts',
  'server/api-deps.ts',
  'server/context.ts',
  'server/git.ts',
  'server/metrics.ts',
  'server/stores.ts',
  'server/webhooks.ts',
  'worker.ts',
  'worker/deploy-tools.ts',
  'worker/guests.ts',
  'worker/serving.ts',
  'worker/stores.ts',
  'worker/sweeper.ts',
  'commands/start.ts',
  'commands/run-part.ts',
  'commands/down.ts',
  'commands/cache.ts',
  'commands/backup.ts',
  'commands/restore.ts',
  'commands/accept-old-store.ts',
  'commands/end-all.ts',
  'commands/open-store.ts',
  'commands/doctor.ts',
];
const everywhere = [
  'atomic-file.ts',
  'coalesced.ts',
  'config.ts',
  'errors.ts',
  'failpoint.ts',
  'hints.ts',
  'logger.ts',
  'timeout-signal.ts',
  'version.ts',
];

type Import = { from: string; to: string; isType: boolean };

const files = readdirSync(src, { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('.ts'));

function importsOf(file: string): Import[] {
  const text = readFileSync(join(src, file), 'utf8');
  const statements = text.matchAll(/^(?:import|export)\s+(type\s+)?([^'";]*?)\s*from\s+'(\.[^']+)';/gm);
  return [...statements].map(([, type, names = '', path = '']) => {
    const braces = /\{([^]*)\}/
      .exec(names)?.[1]
      ?.split(',')
      .filter((name) => name.trim() !== '');
    const allTypes = braces?.every((name) => name.trim().startsWith('type ')) ?? false;
    return {
      from: file,
      to: relative(src, join(src, dirname(file), path)),
      isType: type !== undefined || allTypes,
    };
  });
}

function isAllowed({ from, to, isType }: Import): boolean {
  if (roots.includes(from)) return true;
  if (roots.includes(to)) return false;
  if (everywhere.includes(to)) return !from.startsWith('domain/');
  const folder = from.split('/')[0] ?? '';
  if (to.startsWith(`${folder}/`)) return true;
  const rule = allowed[folder];
  const matches = (names: string[] | undefined): boolean =>
    names?.some((name) => to === name || to.startsWith(`${name}/`)) ?? false;
  return matches(rule?.values) || (isType && matches(rule?.types));
}

describe('arrows point down only', () => {
  test.each(files)('%s imports nothing from above', (file) => {
    expect(importsOf(file).filter((found) => !isAllowed(found))).toEqual([]);
  });

  test('the check would notice', () => {
    expect(isAllowed({ from: 'domain/app.ts', to: 'store/keys.ts', isType: false })).toBe(false);
    expect(isAllowed({ from: 'deploy/deploy.ts', to: 'docker/engine.ts', isType: false })).toBe(false);
    expect(isAllowed({ from: 'git/receive.ts', to: 'server.ts', isType: true })).toBe(false);
  });
});

describe('every library has one home', () => {
  const homes: Record<string, RegExp> = {
    dockerode: /^docker\//,
    bullmq: /^queue\//,
    'simple-git': /^git\//,
    'node-git-server': /^git\//,
    fastify: /^api\//,
    'prom-client': /^health\//,
  };
  test.each(Object.entries(homes))('%s', (library, home) => {
    const users = files.filter((file) => readFileSync(join(src, file), 'utf8').includes(`from '${library}'`));
    expect(users.filter((file) => !home.test(file))).toEqual([]);
    expect(users.length).toBeGreaterThan(0);
  });

  test('no shell of ours ever runs a string', () => {
    const suspects = files.filter((file) =>
      /\bexecSync\(|\bexec\(\s*[`'"]|shell:\s*true/.test(readFileSync(join(src, file), 'utf8')),
    );
    expect(suspects).toEqual([]);
  });

  test('no timeout of ours can be lost: timeoutSignal says why', () => {
    const suspects = files.filter((file) =>
      /AbortSignal\.timeout\(/.test(readFileSync(join(src, file), 'utf8')),
    );
    expect(suspects).toEqual([]);
  });
});
