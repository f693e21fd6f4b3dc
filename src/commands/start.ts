import { type ChildProcess, fork } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { appUrl, type Config, dataPaths, readConfig } from '../config.ts';
import { createLogger, type Logger } from '../logger.ts';
import { type RunningServer, startServer } from '../server.ts';
import { RedisProcess } from '../store/redis-process.ts';
import { inTime, untilTold } from './run-part.ts';

/** It waits for nobody but whoever was cut off to read why. */
const serverEndMs = 10_000;

/**
 * Everything on one machine. Redis and the router live in sessions of their own and are adopted by the next start;
 * Ctrl-C ends Redis, server and worker, the router and the apps go on.
 */
export async function start(): Promise<void> {
  const config = readConfig(process.env);
  const paths = dataPaths(config.dataDir);
  await mkdir(config.dataDir, { recursive: true, mode: 0o700 });
  const other = await runningPid(paths.lock);
  if (other !== undefined) {
    console.log(`Gantry is already running (process ${other}).`);
    return printNextSteps(config);
  }
  await writeFile(paths.lock, `${await identityOf(process.pid)}\n`);
  const logFile = join(config.dataDir, 'gantry.log');
  const logger = createLogger(config.logLevel, 'server', logFile);

  const redis = config.redisUrl ? undefined : new RedisProcess(paths.redis, logger);
  const isRedisOurs = (await redis?.start()) === false;
  let server: RunningServer;
  try {
    const address = config.redisUrl ? { url: config.redisUrl } : { socket: redis?.socket ?? '' };
    server = await startServer(config, address, logger);
  } catch (error) {
    if (isRedisOurs) await redis?.stop();
    throw error;
  }
  const worker = new WorkerProcess(logFile, logger);
  worker.start();
  await printNextSteps(config);
  console.log(`\nCtrl-C ends Gantry; deployed apps keep answering.  Log: ${logFile}`);

  await untilTold();
  console.log('\nending: builds that run go back to the queue, apps keep answering');
  await worker.stop();
  await inTime(server.stop(), serverEndMs);
  await redis?.stop();
  await rm(paths.lock, { force: true });
  process.exit(0);
}

/** A Gantry that runs and has written the lock file of this data folder. */
async function runningPid(lock: string): Promise<number | undefined> {
  const written = (await readFile(lock, 'utf8').catch(() => '')).trim();
  const pid = Number.parseInt(written, 10);
  if (!pid || pid === process.pid) return undefined;
  return (await identityOf(pid)) === written ? pid : undefined;
}

/** With the times of the boot and of its start: after a reboot its number is that of anybody. */
async function identityOf(pid: number): Promise<string | undefined> {
  const boot = await readFile('/proc/sys/kernel/random/boot_id', 'utf8');
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => undefined);
  // Before it there is the name of the program, which may have spaces.
  const started = stat?.slice(stat.lastIndexOf(')') + 2).split(' ')[19];
  return started === undefined ? undefined : `${pid} ${started} ${boot.trim()}`;
}

async function printNextSteps(config: Config): Promise<void> {
  const token = (await readFile(dataPaths(config.dataDir).token, 'utf8').catch(() => 'YOUR_TOKEN')).trim();
  const [scheme = 'http', host = ''] = config.url.split('://');
  console.log(`
Gantry is ready. In the repository of your app (it needs a Dockerfile), type:

  git remote add clever ${scheme}://gantry:${token}@${host}/myapp.git
  git push clever main
  curl ${appUrl(config, 'myapp')}`);
}

const cli = fileURLToPath(
  new URL(import.meta.url.endsWith('.ts') ? '../cli.ts' : '../cli.js', import.meta.url),
);

/** The worker as a child that is started again when it dies. */
class WorkerProcess {
  readonly #logFile: string;
  readonly #logger: Logger;
  #child: ChildProcess | undefined;
  #stopping = false;
  #pauseMs = 100;

  constructor(logFile: string, logger: Logger) {
    this.#logFile = logFile;
    this.#logger = logger;
  }

  start(): void {
    const began = performance.now();
    try {
      const child = this.#fork();
      child.on('exit', (code, signal) => this.#startAgain(began, { code, signal }));
      // Nothing was started, so nothing will exit: there are no more processes or open files to be had.
      child.on('error', (err) => child.pid === undefined && this.#startAgain(began, { err }));
      this.#child = child;
    } catch (err) {
      this.#startAgain(began, { err });
    }
  }

  #fork(): ChildProcess {
    const log = openSync(this.#logFile, 'a', 0o600);
    try {
      // A session of its own: Ctrl-C reaches only us, and we end the worker in order.
      return fork(cli, ['worker'], { stdio: ['ignore', log, log, 'ipc'], detached: true });
    } finally {
      closeSync(log); // it has its own
    }
  }

  #startAgain(began: number, why: object): void {
    if (this.#stopping) return;
    this.#pauseMs = performance.now() - began > 10_000 ? 100 : Math.min(this.#pauseMs * 2, 5000);
    this.#logger.error(why, 'the worker ended and is started again');
    setTimeout(() => !this.#stopping && this.start(), this.#pauseMs);
  }

  async stop(): Promise<void> {
    this.#stopping = true;
    const child = this.#child;
    if (!child?.pid || child.exitCode !== null || child.signalCode !== null) return;
    const gone = new Promise((resolve) => child.once('exit', resolve));
    child.kill('SIGTERM');
    await gone;
  }
}
