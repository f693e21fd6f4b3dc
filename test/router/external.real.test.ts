import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { expect, test } from 'vitest';
import { haproxyPaths } from '../../src/router/haproxy-config.ts';
import { HaproxyRouter } from '../../src/router/haproxy-router.ts';
import { HaproxyRuntime } from '../../src/router/haproxy-runtime.ts';
import { servedBy } from './support/client.ts';
import { eventually, freePort, logger, pidsOf, route, tempDir } from './support/rig.ts';
import { Upstream } from './support/upstream.ts';

/** The command of the haproxy service in docker-compose.yml. */
const loop = `
while sleep 0.2; do
  if [ -e haproxy.cfg ]; then
    haproxy -W -S "$DIR/master.sock,mode,600" -f "$DIR/haproxy.cfg" >>haproxy.log 2>&1
  fi
done
`;

test('an HAProxy that somebody else runs is waited for, reloaded and left alone', async () => {
  await using dir = await tempDir();
  const port = await freePort();
  const runtime = new HaproxyRuntime(haproxyPaths(dir.path));
  const PATH = `${process.env.PATH}:/usr/sbin`;
  const other = spawn('sh', ['-c', loop], { cwd: dir.path, env: { PATH, DIR: dir.path }, detached: true });
  try {
    using v1 = await Upstream.start('v1');
    const start = async () => {
      const router = new HaproxyRouter({ dir: dir.path, httpPort: port, isExternal: true, logger });
      await router.start();
      return router;
    };
    const router = await start();
    await router.apply([route('blog', [v1.endpoint])]);
    expect(await servedBy(port, 'blog.test')).toBe('v1');
    expect((await runtime.processes()).reloads).toBe(1);
    expect(await pidsOf(dir.path, 'sh')).toEqual([other.pid]);

    // It goes away and comes back, first under the eyes of a controller and then without one.
    process.kill((await runtime.processes()).master, 'SIGKILL');
    await router.apply([route('blog', [v1.endpoint]), route('shop', [v1.endpoint])]);
    expect(await servedBy(port, 'shop.test')).toBe('v1');
    await router.close();
    const { master } = await runtime.processes();
    process.kill(master, 'SIGKILL');
    const next = await start();
    expect(await servedBy(port, 'blog.test')).toBe('v1');
    expect((await runtime.processes()).master).not.toBe(master);
    expect(await pidsOf(dir.path, 'sh')).toEqual([other.pid]);
    expect(existsSync(haproxyPaths(dir.path).lock)).toBe(false);
    await next.close();
  } finally {
    if (other.pid) process.kill(-other.pid, 'SIGKILL');
    await eventually(
      () => pidsOf(dir.path, 'haproxy'),
      (pids) => pids.length === 0,
    );
  }
});
