// From `git push` to the first answer of the new version, beside the same commit through the bare engine API
// (build, create, start, first answer), one after the other in each round. Absolute times depend on the machine and on
// its neighbours: read the ratios.   npm run bench [-- ROUNDS]
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import Docker from 'dockerode';
import { packContext } from '../src/docker/build-context.ts';
import globalSetup from '../test/support/global-setup.ts';
import { appRepository, freePort, Rig, requestHost, until } from '../test/support/rig.ts';
import { Visitors } from '../test/support/visitor.ts';

const rounds = Number(process.argv[2] ?? 15);
const lookEveryMs = 2;
const dockerfile =
  'FROM gantry-test/base:1\nCOPY www /www\nCMD ["sh","-c","exec httpd -f -p ${PORT:-8080} -h /www"]\n';

await globalSetup();
await using rig = await Rig.start({ GANTRY_LOG_LEVEL: 'info' });
const idleBytes = await settledMemory();
await using repo = await appRepository('web', { Dockerfile: dockerfile, 'www/index.html': 'v0' });
const url = await rig.pushUrl('bench');
await repo.push(url);
const docker = new Docker({ socketPath: '/var/run/docker.sock' });
const floorPort = await freePort();
await removePlain();
await plainDeploy('warm-up');

const gantryMs: number[] = [];
const returnMs: number[] = [];
const floorMs: number[] = [];
const visitors = new Visitors(rig.httpPort, 'bench.localhost', 100);
for (let round = 1; round <= rounds; round += 1) {
  const version = `v${round}`;
  await repo.commit({ 'www/index.html': version }, version);
  const ours = async (): Promise<void> => {
    const push = await pushToLive(version);
    gantryMs.push(push.live);
    returnMs.push(push.returned);
  };
  const theirs = async (): Promise<void> => {
    floorMs.push(await plainDeploy(version));
  };
  for (const turn of round % 2 === 0 ? [ours, theirs] : [theirs, ours]) {
    await turn();
    await quiet();
  }
}
await visitors.leave();
const latencies = await logLatencies();

const ratios = gantryMs.map((ms, round) => ms / (floorMs[round] ?? Number.NaN));
console.log(`
${rounds} rounds in turn, median (min-max)
  git push -> first answer   ${summary(gantryMs)} ms
  git push -> push returns   ${summary(returnMs)} ms
  plain build + run, API     ${summary(floorMs)} ms
  ratio of the medians       ${(percentile(gantryMs, 50) / percentile(floorMs, 50)).toFixed(2)}   (target: at most 1.5)
  ratio, round by round      ${summary(ratios, 2)}
  failed requests            ${visitors.failures.length} of ${visitors.requests}   (target: 0)
  log line, build -> client  p50 ${percentile(latencies, 50).toFixed(0)} ms, p95 ${percentile(latencies, 95).toFixed(0)} ms   (target: p95 under 100)
  idle memory, all processes ${(idleBytes / 1e6).toFixed(0)} MB, Redis and HAProxy counted   (target: under 250)`);
if (visitors.failures.length > 0) console.log([...new Set(visitors.failures)].slice(0, 5).join('\n'));

async function pushToLive(version: string): Promise<{ live: number; returned: number }> {
  const began = performance.now();
  const pushing = repo.push(url);
  let live = 0;
  // The visitors see it; whoever asked besides them would take time from what is measured.
  const isSeen = (): boolean => {
    live = performance.now() - began;
    return visitors.versions.some((seen) => seen.trim() === version);
  };
  await until(`version ${version} answers`, isSeen, 30_000, lookEveryMs);
  const push = await pushing;
  if (push.code !== 0) throw new Error(push.stderr);
  return { live, returned: performance.now() - began };
}

/** The clean-up after a push, which nobody waits for, is over: it would be counted with the turn that comes next. */
async function quiet(): Promise<void> {
  const filters = { label: [`gantry.store=${await rig.storeId}`] };
  await until('the replaced container is gone', async () => {
    const containers = await docker.listContainers({ all: true, filters });
    return containers.length === 1;
  });
  await new Promise((resolve) => setTimeout(resolve, 7000));
}

/**
 * What `docker build` and `docker run -p` do, without the client. The container goes at the end, not before the next one:
 * both turns are to find an engine that had nothing to do for a while.
 */
async function plainDeploy(version: string): Promise<number> {
  const began = performance.now();
  const context = await packContext(repo.path, 'Dockerfile');
  if (!context.ok) throw new Error(context.reason);
  const stream = await new Promise<NodeJS.ReadableStream>((resolve, reject) => {
    docker.modem.dial(
      {
        path: '/build?',
        method: 'POST',
        file: context.tar as unknown as string,
        options: { version: '2', t: 'gantry-bench:plain', rm: '1' },
        isStream: true,
        statusCodes: { 200: true },
      } as Parameters<typeof docker.modem.dial>[0],
      (error, result) => (error ? reject(error as Error) : resolve(result as NodeJS.ReadableStream)),
    );
  });
  stream.resume();
  await new Promise((resolve, reject) => stream.on('end', resolve).on('error', reject));
  const container = await docker.createContainer({
    name: 'gantry-bench-plain',
    Image: 'gantry-bench:plain',
    HostConfig: {
      Init: true,
      PortBindings: { '8080/tcp': [{ HostIp: '127.0.0.1', HostPort: String(floorPort) }] },
    },
    ExposedPorts: { '8080/tcp': {} },
  });
  await container.start();
  await until(`plain ${version} answers`, async () => {
    const answer = await requestHost(floorPort, 'localhost').catch(() => undefined);
    return answer?.status === 200;
  });
  const took = performance.now() - began;
  await removePlain();
  return took;
}

async function removePlain(): Promise<void> {
  await docker
    .getContainer('gantry-bench-plain')
    .remove({ force: true })
    .catch(() => {});
}

/** A build that prints the time it prints at, every 20 ms; the client notes when it sees each line. */
async function logLatencies(): Promise<number[]> {
  await using app = await appRepository('web', {
    stamp: String(Date.now()), // or the step would be cached and print nothing
    Dockerfile: `FROM gantry-test/node:1\nCOPY . /app\nRUN node -e "let n=0; const t=setInterval(() => { console.log('at=' + Date.now()); if (++n === 200) clearInterval(t) }, 20)"\nCMD ["node","/app/server.js"]\n`,
  });
  const latenciesMs: number[] = [];
  const child = app.startPush(await rig.pushUrl('latency'));
  let rest = '';
  child.stderr?.on('data', (chunk: Buffer) => {
    const now = Date.now();
    const lines = (rest + chunk.toString()).split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) {
      const at = /at=(\d+)/.exec(line)?.[1];
      if (at) latenciesMs.push(now - Number(at));
    }
  });
  await new Promise((resolve) => child.once('exit', resolve));
  return latenciesMs;
}

/** The proportional share of memory of everything that belongs to the rig, once start-up work is over. */
async function settledMemory(): Promise<number> {
  await new Promise((resolve) => setTimeout(resolve, 8000));
  let total = 0;
  for (const entry of await readdir('/proc')) {
    if (!/^\d+$/.test(entry)) continue;
    const environment = await readFile(join('/proc', entry, 'environ'), 'latin1').catch(() => '');
    const command = await readFile(join('/proc', entry, 'cmdline'), 'latin1').catch(() => '');
    if (!environment.includes(`GANTRY_DATA=${rig.dataDir}`) && !command.includes(rig.dataDir)) continue;
    const rollup = await readFile(join('/proc', entry, 'smaps_rollup'), 'utf8').catch(() => '');
    total += Number(/^Pss:\s+(\d+) kB/m.exec(rollup)?.[1] ?? 0) * 1024;
  }
  return total;
}

function percentile(values: readonly number[], percent: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor((sorted.length * percent) / 100))] ?? Number.NaN;
}

function summary(values: readonly number[], digits = 0): string {
  return `${percentile(values, 50).toFixed(digits)} (${Math.min(...values).toFixed(digits)}-${Math.max(...values).toFixed(digits)})`;
}
