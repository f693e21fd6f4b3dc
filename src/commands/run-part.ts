import { type Config, dataPaths, readConfig } from '../config.ts';
import { createLogger, type Logger } from '../logger.ts';
import type { RedisAddress } from '../store/redis.ts';
import { RedisProcess } from '../store/redis-process.ts';

/** Longer than a deployment past its switch drains what it replaced by default. */
const longestEndMs = 60_000;

/** The server alone, for compose, systemd and more machines. */
export async function runServer(): Promise<void> {
  const { startServer } = await import('../server.ts');
  await runPart('server', startServer);
}

/** A worker alone. Under `gantry start` it ends with its parent, which the channel between them tells. */
export async function runWorker(): Promise<void> {
  const { startWorker } = await import('../worker.ts');
  await runPart('worker', startWorker);
}

async function runPart(
  name: string,
  start: (config: Config, redis: RedisAddress, logger: Logger) => Promise<{ stop: () => Promise<void> }>,
): Promise<void> {
  const config = readConfig(process.env);
  const logger = createLogger(config.logLevel, name);
  const part = await start(config, redisAddress(config, logger), logger);
  const stop = untilTold();
  await stop;
  await inTime(part.stop(), longestEndMs);
  // Whatever library still holds a timer or a socket: everything of ours is closed.
  process.exit(0);
}

export function redisAddress(config: Config, logger: Logger): RedisAddress {
  if (config.redisUrl) return { url: config.redisUrl };
  return { socket: new RedisProcess(dataPaths(config.dataDir).redis, logger).socket };
}

/**
 * Nothing that is away, as a Redis that lets nobody in, may keep us from ending: what was under way is taken up by the next
 * start.
 */
export async function inTime(ending: Promise<void>, limitMs: number): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, limitMs);
  });
  await Promise.race([ending, late]);
  clearTimeout(timer);
}

/** Resolves when the process is asked to end: by a signal, or because the parent that forked it is gone. */
export async function untilTold(): Promise<void> {
  await new Promise<void>((resolve) => {
    process.once('SIGINT', () => resolve());
    process.once('SIGTERM', () => resolve());
    process.once('disconnect', () => resolve());
  });
}
