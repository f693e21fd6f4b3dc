import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type Docker from 'dockerode';
import { addBusybox, addFile, ensureImage, linkedLibraries } from './base-image.ts';
import { importDebian, leanDpkg } from './debian-image.ts';

/** The images that docker-compose.yml, the Dockerfile and the Dockerfiles of the tests start from. */
const nodeName = 'node:20-bookworm-slim';
const debianName = 'debian:bookworm-slim';
const redisName = 'redis:7-alpine';

const run = promisify(execFile);
const certificates = '/etc/ssl/certs/ca-certificates.crt';

/**
 * Gives the names of the public images to look-alikes made here, where there is no registry, and takes them back when it
 * goes out of scope. An image that was pulled is left alone and used.
 */
export async function lookAlikeImages(docker: Docker): Promise<AsyncDisposable> {
  const lent: string[] = [];
  for (const [name, make] of [
    [nodeName, makeNodeImage],
    [debianName, makeNodeImage], // a Debian that has more than it needs
    [redisName, makeRedisImage],
  ] as const) {
    const labels = await labelsOf(docker, name);
    if (labels && !('gantry.test-base' in labels)) continue;
    const [repo = '', tag = ''] = name.split(':');
    await docker.getImage(await make(docker)).tag({ repo, tag });
    lent.push(name);
  }
  return {
    [Symbol.asyncDispose]: async () => {
      for (const name of lent) await docker.getImage(name).remove();
    },
  };
}

export async function labelsOf(docker: Docker, name: string): Promise<Record<string, string> | undefined> {
  return docker
    .getImage(name)
    .inspect()
    .then(
      ({ Config }) => Config.Labels ?? {},
      () => undefined,
    );
}

/** Alpine is busybox and little else, and so is this; like the real one it runs Redis as a user of its own. */
export function makeRedisImage(docker: Docker): Promise<string> {
  const entrypoint = `#!/bin/sh
grep -q ^redis: /etc/passwd || echo redis:x:999:999::/data:/bin/sh >>/etc/passwd
chown -R redis /data
exec su -s /bin/sh -c 'exec "$@"' -- redis redis "$@"
`;
  return ensureImage(
    docker,
    'gantry-test/redis:1',
    async (tar) => {
      await addBusybox(tar);
      await addFile(tar, 'usr/local/bin/docker-entrypoint.sh', entrypoint, 0o755);
      const libraries = new Set<string>();
      for (const program of ['redis-server', 'redis-cli']) {
        const path = (await run('sh', ['-c', `command -v ${program}`])).stdout.trim();
        await addFile(tar, `usr/local/bin/${program}`, await readFile(path), 0o755);
        for (const library of await linkedLibraries(path)) libraries.add(library);
      }
      for (const library of libraries) await addFile(tar, library.slice(1), await readFile(library), 0o755);
    },
    ['WORKDIR /data', 'ENTRYPOINT ["docker-entrypoint.sh"]', 'CMD ["redis-server"]'],
  );
}

/**
 * A Debian from its mirror with the `node` of this machine and the npm that comes with Node 20. What this machine needs to
 * reach the npm registry, its certificates and the registry's address, goes in here and nowhere else.
 */
async function makeNodeImage(docker: Docker): Promise<string> {
  const registry = (await run('npm', ['config', 'get', 'registry'])).stdout.trim();
  const recipe = createHash('sha256')
    .update(`${process.version} ${registry} ${mmdebstrap.join(' ')}`)
    .update(await readFile(certificates));
  const tag = `gantry-test/node-slim:${recipe.digest('hex').slice(0, 12)}`;
  if (await labelsOf(docker, tag)) return tag;

  const dir = await mkdtemp(join(tmpdir(), 'gantry-slim-'));
  try {
    await run('npm', ['pack', 'npm@10.8.2', '--pack-destination', dir]);
    await mkdir(join(dir, 'npm'));
    await run('tar', ['-xzf', join(dir, 'npm-10.8.2.tgz'), '-C', join(dir, 'npm'), '--strip-components=1']);
    await writeFile(join(dir, 'npmrc'), `registry=${registry}\nupdate-notifier=false\n`);
    const changes = [
      'ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
      `ENV NODE_EXTRA_CA_CERTS=${certificates}`,
      'LABEL gantry.test-base=1',
      'CMD ["node"]',
    ];
    await importDebian(tag, dir, mmdebstrap, changes);
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
  return tag;
}

const mmdebstrap = [
  '--variant=apt',
  '--include=libstdc++6',
  // Also what the Dockerfile installs in it comes over a network that may hiccup.
  '--aptopt=Acquire::Retries "5"',
  ...leanDpkg,
  '--customize-hook=mkdir -p "$1/etc/ssl/certs" "$1/usr/local/etc" "$1/usr/local/lib/node_modules"',
  `--customize-hook=install -m 755 ${process.execPath} "$1/usr/local/bin/node"`,
  `--customize-hook=install -m 644 ${certificates} "$1${certificates}"`,
  '--customize-hook=install -m 644 npmrc "$1/usr/local/etc/npmrc"',
  '--customize-hook=cp -R npm "$1/usr/local/lib/node_modules/"',
  '--customize-hook=ln -s ../lib/node_modules/npm/bin/npm-cli.js "$1/usr/local/bin/npm"',
];
