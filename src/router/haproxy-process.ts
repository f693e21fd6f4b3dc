import { execFile, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, readFile, rm, stat, truncate, writeFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { type HaproxyPaths, haproxyPaths } from './haproxy-config.ts';
import { type Processes, parseAlerts } from './haproxy-replies.ts';
import type { HaproxyRuntime } from './haproxy-runtime.ts';
import { waitUntil } from './wait-until.ts';

const run = promisify(execFile);

/**
 * Keeps one HAProxy running, in a session of its own that outlives whoever started it, until there is a stop file or the
 * folder is gone. The lock makes it the only one; HAProxy must not inherit the lock (`9>&-`), or a supervisor that was
 * killed could not be replaced. Its replacement waits for the HAProxy that outlived it.
 */
const supervisor = `
cd "$DIR" || exit 1
exec 9>>supervisor.lock
flock -w 1 9 || exit 0
orphan() {
  read -r pid <haproxy.pid && grep -qsF "$DIR/haproxy.cfg" "/proc/$pid/cmdline"
} 2>/dev/null
while [ -e haproxy.cfg ] && [ ! -e stop ]; do
  if orphan; then sleep 0.1 9>&-; continue; fi
  "$HAPROXY" -W -S "$DIR/master.sock,mode,600" -p "$DIR/haproxy.pid" -f "$DIR/haproxy.cfg" >>haproxy.log 2>&1 9>&-
  # 1 is a refused configuration or port: no use to try ten times a second.
  if [ $? -eq 1 ]; then sleep 1 9>&-; else sleep 0.1 9>&-; fi
done
`;

const startTimeoutMs = 10_000;
const reloadTimeoutMs = 20_000;
const stopTimeoutMs = 5_000;

/**
 * HAProxy cuts what a worker still serves when it has outlived 20 reloads (`mworker-max-reloads`). One that is busy and
 * has outlived this many makes the next ones come that slowly, so it gets half a minute at the least.
 */
const quickReloads = 5;
const pacedReloadMs = 2_000;
const logLimitBytes = 1024 * 1024;

/** HAProxy as a process: its supervisor, its reloads and its end. What it does is told elsewhere. */
export class HaproxyProcess {
  readonly #paths: HaproxyPaths;
  readonly #dir: string;
  readonly #runtime: HaproxyRuntime;
  /** Somebody else starts HAProxy, again and again, as soon as there is a configuration: a container beside ours. */
  readonly #isExternal: boolean;
  #lastReload = Number.NEGATIVE_INFINITY;

  constructor(dir: string, runtime: HaproxyRuntime, isExternal = false) {
    this.#dir = dir;
    this.#paths = haproxyPaths(dir);
    this.#runtime = runtime;
    this.#isExternal = isExternal;
  }

  /** Whether an HAProxy of an earlier controller is there to be adopted; waits out one that is just restarting. */
  async isRunning(): Promise<boolean> {
    if (await this.#answers(0)) return true;
    if (this.#isExternal) return existsSync(this.#paths.config) && (await this.#answers(startTimeoutMs));
    if (!(await this.#isSupervised()) && (await this.#masterPid()) === undefined) return false;
    if (await this.#answers(3_000)) return true;
    // It is there and does not come up, so what is on disk is of no use.
    await this.stop();
    return false;
  }

  /** Makes sure that HAProxy runs, from the file on disk, and goes on running. Repeating it changes nothing. */
  async start(binary: string): Promise<void> {
    if (!this.#isExternal) await this.#supervise(binary);
    if (await this.#answers(startTimeoutMs)) return;
    const reason = parseAlerts(await readFile(this.#paths.log, 'utf8').catch(() => ''));
    throw new Error(`HAProxy did not start: ${reason} (see ${this.#paths.log})`);
  }

  /** Replaces a supervisor that was killed; HAProxy itself is not touched. */
  async #supervise(binary: string): Promise<void> {
    await rm(this.#paths.stop, { force: true });
    const child = spawn('/bin/sh', ['-c', supervisor, 'gantry-router'], {
      detached: true,
      stdio: 'ignore',
      // Nothing of our own environment: it holds secrets.
      env: {
        PATH: process.env.PATH ?? '/usr/sbin:/usr/bin:/sbin:/bin',
        DIR: this.#dir,
        HAPROXY: binary,
      },
    });
    await new Promise((resolve, reject) => {
      child.once('spawn', resolve);
      child.once('error', reject);
    });
    child.unref();
  }

  /**
   * Makes a new worker read the files, without a refused connection, and resolves once every older worker hands over
   * its new requests. When the new worker cannot start, the old one serves on and this throws.
   */
  async reload(): Promise<void> {
    const before = await this.#paced();
    const logged = await this.#logSize();
    this.#lastReload = performance.now();
    await this.#runtime.startReload();
    const done = await waitUntil({ forMs: reloadTimeoutMs, everyMs: 10 }, async () => {
      const now = await this.#runtime.processes();
      if (now.failedReloads > before.failedReloads) return 'failed';
      if (now.worker === undefined || now.worker === before.worker) return undefined;
      const stopping = await Promise.all(now.oldWorkers.map((pid) => this.#runtime.isStopping(pid)));
      if (stopping.includes(false)) return undefined;
      return (await this.#runtime.workerPid()) === now.worker ? 'done' : undefined;
    });
    if (done === 'done') return;
    const log = (await readFile(this.#paths.log).catch(() => Buffer.alloc(0))).subarray(logged).toString();
    const reason = done === 'failed' ? parseAlerts(log) : `no new worker within ${reloadTimeoutMs / 1000} s`;
    throw new Error(`HAProxy did not take over the new configuration: ${reason}`);
  }

  /** The processes at a time when one more reload cuts nobody. */
  async #paced(): Promise<Processes> {
    for (;;) {
      const processes = await this.#runtime.processes();
      const leftMs = this.#lastReload + pacedReloadMs - performance.now();
      if (leftMs <= 0 || processes.outlived < quickReloads) return processes;
      await sleep(Math.min(leftMs, 50));
    }
  }

  /** Ends HAProxy and its supervisor, and with them all traffic. */
  async stop(): Promise<void> {
    await mkdir(this.#dir, { recursive: true });
    await writeFile(this.#paths.stop, '');
    const gone = async () => {
      const master = await this.#masterPid();
      if (master === undefined && !(await this.#isSupervised())) return true;
      return undefined;
    };
    for (const signal of ['SIGTERM', 'SIGKILL'] as const) {
      const master = await this.#masterPid();
      if (master !== undefined) kill(master, signal);
      if (await waitUntil({ forMs: stopTimeoutMs, everyMs: 20 }, gone)) return;
    }
    throw new Error(`HAProxy in ${this.#dir} did not stop`);
  }

  /** HAProxy prints a line for every app that goes up or down; the file is opened for appending, so it may be cut. */
  async trimLog(): Promise<void> {
    if ((await this.#logSize()) > logLimitBytes) await truncate(this.#paths.log);
  }

  async #answers(forMs: number): Promise<boolean> {
    const answer = await waitUntil({ forMs, everyMs: 10 }, async () => {
      const [pid, processes] = await Promise.all([this.#runtime.workerPid(), this.#runtime.processes()]);
      return pid === processes.worker ? true : undefined;
    });
    return answer ?? false;
  }

  async #isSupervised(): Promise<boolean> {
    try {
      await run('flock', ['-n', this.#paths.lock, 'true']);
      return false;
    } catch (error) {
      if (error instanceof Error && 'code' in error && error.code === 1) return true;
      throw new Error('flock does not work; install it: apt-get install util-linux', { cause: error });
    }
  }

  /** From the pid file, and only when that pid is an HAProxy with our configuration: pids are used again. */
  async #masterPid(): Promise<number | undefined> {
    try {
      const pid = Number(await readFile(this.#paths.pid, 'utf8'));
      const commandLine = await readFile(`/proc/${pid}/cmdline`, 'utf8');
      return commandLine.split('\0').includes(this.#paths.config) ? pid : undefined;
    } catch {
      return undefined;
    }
  }

  async #logSize(): Promise<number> {
    return stat(this.#paths.log).then(
      ({ size }) => size,
      () => 0,
    );
  }
}

function kill(pid: number, signal: 'SIGTERM' | 'SIGKILL'): void {
  try {
    process.kill(pid, signal);
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'ESRCH')) throw error;
  }
}
