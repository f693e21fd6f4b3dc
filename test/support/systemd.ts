import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';

/**
 * A systemd as the first process of namespaces of its own. It sees this machine's files, so it is to start none of this
 * machine's services, above all not the one that empties /tmp. With v1 cgroups it would mount all controllers, and while it
 * ran the engine could not watch over memory any more; so those that are not mounted seem to be.
 */
const boot = `
set -e
mount -t proc proc /proc
mount -t tmpfs tmpfs /run
mkdir -p /run/systemd/system /run/groups
if [ -d /sys/fs/cgroup/systemd ]; then
  mount -t tmpfs tmpfs /run/groups
  for name in $(ls /sys/fs/cgroup) cpu,cpuacct net_cls,net_prio hugetlb perf_event rdma misc; do
    [ ! -L "/sys/fs/cgroup/$name" ] && mkdir "/run/groups/$name" 2>/dev/null || continue
    if mountpoint -q "/sys/fs/cgroup/$name"; then mount --bind "/sys/fs/cgroup/$name" "/run/groups/$name"
    else mount -t tmpfs tmpfs "/run/groups/$name"
    fi
  done
  mount --move /run/groups /sys/fs/cgroup
fi
for unit in sysinit.target basic.target sockets.target systemd-tmpfiles-setup.service; do
  ln -s /dev/null "/run/systemd/system/$unit"
done
printf '[Unit]\\nDefaultDependencies=no\\n' >/run/systemd/system/gantry-test.target
exec env container=test /lib/systemd/systemd --system --unit=gantry-test.target --log-target=null --show-status=0
`;

export async function startSystemd() {
  const namespaces = [
    '--mount',
    '--pid',
    '--fork',
    '--kill-child=KILL',
    '--uts',
    '--ipc',
    '--propagation',
    'private',
  ];
  const outer = spawn('unshare', [...namespaces, 'sh', '-c', boot], { stdio: 'inherit' });
  const inside = async (...command: string[]) => {
    const first = (await readFile(`/proc/${outer.pid}/task/${outer.pid}/children`, 'utf8')).trim();
    const enter = ['--target', first, '--mount', '--pid', '--uts', '--ipc', `--wd=${process.cwd()}`];
    // nsenter starts it as a process of its own, which is to die with it.
    return ['nsenter', ...enter, 'setpriv', '--pdeathsig', 'KILL', ...command] as const;
  };
  const run = async (...command: string[]): Promise<string> => {
    const [program, ...args] = await inside(...command);
    return (await promisify(execFile)(program, args)).stdout;
  };
  const isRunning = async (): Promise<boolean> =>
    (await run('systemctl', 'is-system-running').catch(() => '')).trim() === 'running';
  for (const began = performance.now(); !(await isRunning()); await sleep(50))
    if (performance.now() - began > 20_000) throw new Error('systemd does not start');
  return {
    /** What to start for a command to run there. */
    inside,
    run,
    scopes: async () =>
      (await run('systemctl', 'list-units', '--type=scope', '--no-legend', 'gantry-*')).trim(),
    async [Symbol.asyncDispose]() {
      outer.kill('SIGKILL');
      await once(outer, 'exit');
    },
  };
}
