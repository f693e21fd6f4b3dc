import { randomBytes } from 'node:crypto';
import { mkdtemp, readdir, readlink, rm } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { page } from '../support/dockerfiles.ts';
import { gitClient, resultOf } from '../support/git.ts';
import { expectNothingLeftBehind } from '../support/leftovers.ts';
import { family, killAll } from '../support/processes.ts';
import { randomNumbers } from '../support/random.ts';
import { appRepository, Rig, until } from '../support/rig.ts';
import { Visitors } from '../support/visitor.ts';

/** `SOAK_SEED=…` takes the same decisions again; what they meet still depends on the timing of the machine. */
const seed = Number(process.env.SOAK_SEED ?? Date.now() % 1_000_000);
/** `SOAK_SECONDS=28800` is a night. */
const soakMs = Number(process.env.SOAK_SECONDS ?? 60) * 1000;
/** One is killed in each: a deployment whose workers were killed three times is given up. */
const killEveryMs = soakMs > 60_000 ? 60_000 : 30_000;
const visited = 'steady';
const apps = [visited, 'left', 'right', 'busy'];

const failing = 'FROM gantry-test/base:1\nCOPY version /x\nRUN false\nCMD ["true"]\n';
const slow = page('RUN sleep 2');

let rig: Rig;
beforeAll(async () => {
  rig = await Rig.start({ GANTRY_HEALTH_TIMEOUT: '20' });
});
afterAll(() => rig[Symbol.asyncDispose]());

test(`${soakMs / 1000} seconds of pushes, rollbacks, clones, kills and garbage (seed ${seed})`, {
  timeout: soakMs + 180_000,
}, async () => {
  rig.explainFailures();
  const lanes = await Promise.all(apps.map((app, index) => openLane(app, seed + index)));
  const before = await openFiles();
  const visitors = new Visitors(rig.httpPort, `${visited}.localhost`, 60);
  const end = performance.now() + soakMs;

  await Promise.all([
    ...lanes.map((lane) => work(lane, end)),
    makeTrouble(rollWith(seed + 100), end),
    makeTrouble(rollWith(seed + 101), end),
    killWorkers(rollWith(seed + 200), end),
  ]);

  await expectNothingLeftBehind(rig, 45_000);
  await visitors.leave();
  expect(visitors.failures).toEqual([]);
  expect(visitors.requests).toBeGreaterThan((soakMs / 1000) * 20);
  expect(lanes.flatMap(({ surprises }) => surprises)).toEqual([]);
  for (const lane of lanes) await expectLastLive(lane);
  await expect.poll(() => growth(before), { timeout: 20_000 }).toEqual([]);
  const done = lanes.map(({ app, counts }) => `${app} ${[...counts].map((one) => one.join(' ')).join(', ')}`);
  console.log(`soak: ${done.join('; ')}; ${visitors.requests} visits`);
  for (const lane of lanes) await lane.repo[Symbol.asyncDispose]();
});

type Dice = ReturnType<typeof rollWith>;

/** Draws that come again with their seed. */
function rollWith(seed: number) {
  const random = randomNumbers(seed);
  const below = (limit: number): number => Math.floor(random() * limit);
  return { below, pick: <T>(items: readonly T[]): T => items[below(items.length)] as T };
}

/** One person who works on one app, one thing after the other. */
type Lane = Awaited<ReturnType<typeof openLane>>;

async function openLane(app: string, start: number) {
  const repo = await appRepository('page', { version: `${app} 0` });
  const url = await rig.pushUrl(app);
  const push = await repo.push(url);
  if (push.code !== 0) throw new Error(push.stderr);
  return {
    app,
    repo,
    url,
    dice: rollWith(start),
    counts: new Map<string, number>(),
    surprises: [] as string[],
    left: new Set<string>(),
    count: 0,
  };
}

async function work(lane: Lane, end: number): Promise<void> {
  const deeds = [good, good, broken, leftWhileBuilding, leftWhileUploading, restarted, rolledBack];
  while (performance.now() < end) {
    const deed = lane.dice.pick(deeds);
    lane.counts.set(deed.name, (lane.counts.get(deed.name) ?? 0) + 1);
    lane.count += 1;
    await deed(lane);
    await sleep(lane.dice.below(300));
  }
}

async function good({ app, repo, url, count, surprises }: Lane): Promise<void> {
  await repo.commit({ version: `${app} ${count}`, Dockerfile: page() });
  const push = await repo.push(url);
  if (push.code !== 0) surprises.push(`${app} ${count} should go live: ${push.stderr}`);
}

async function broken({ app, repo, url, count, surprises }: Lane): Promise<void> {
  await repo.commit({ version: `${app} ${count}`, Dockerfile: failing });
  const push = await repo.push(url);
  if (push.code !== 1 || !push.stderr.includes('RUN false exited with code 1'))
    surprises.push(`${app} ${count} should fail: ${push.stderr}`);
}

async function restarted(lane: Lane): Promise<void> {
  await asked(lane, 'deployments', { kind: 'restart' });
}

async function rolledBack(lane: Lane): Promise<void> {
  await asked(lane, 'releases/previous/rollback');
}

/**
 * Without git. Nobody else works on the app, so it goes live, unless there is no release to go back to. A push that was left
 * a moment ago may have reached the server whole, and be asked for only after this.
 */
async function asked({ app, surprises, count, left }: Lane, path: string, body?: unknown): Promise<void> {
  const answer = await rig.api('POST', `/apps/${app}/${path}`, body);
  if (answer.status === 409) return;
  const { number } = JSON.parse(answer.body) as { number: number };
  let end = await deployment(app, number);
  await until(
    `${app} #${number} has ended`,
    async () => {
      end = await deployment(app, number);
      return end.state !== 'queued' && end.state !== 'running';
    },
    60_000,
    100,
  );
  if (end.state === 'live') return;
  const newer = end.supersededBy ? await deployment(app, end.supersededBy) : undefined;
  if (newer && left.has(newer.commit)) return;
  surprises.push(`${app} ${count}, ${path}, #${number}: ${end.state}, ${end.reason}`);
}

type Shown = { state: string; commit: string; reason: string | null; supersededBy: number | null };

async function deployment(app: string, number: number): Promise<Shown> {
  return JSON.parse((await rig.api('GET', `/apps/${app}/deployments/${number}`)).body) as Shown;
}

/** The deployment goes on, and may be superseded by the next one. */
async function leftWhileBuilding({ app, repo, url, count, dice }: Lane): Promise<void> {
  await repo.commit({ version: `${app} ${count}`, Dockerfile: slow });
  const child = repo.startPush(url);
  const end = resultOf(child);
  await Promise.race([
    new Promise<void>((resolve) =>
      child.stderr?.on('data', (text: Buffer) => text.includes('Building') && resolve()),
    ),
    end,
  ]);
  await sleep(dice.below(1500));
  await kill(child.pid);
  await end;
}

/** Wherever the transfer is at that moment; the commit may arrive or not. */
async function leftWhileUploading({ app, repo, url, count, dice, left }: Lane): Promise<void> {
  const files = { '.dockerignore': 'blob\n', blob: randomBytes(3_000_000) };
  left.add(await repo.commit({ version: `${app} ${count}`, Dockerfile: page(), ...files }));
  const child = repo.startPush(url);
  const end = resultOf(child);
  await sleep(dice.below(150));
  await kill(child.pid);
  await end;
}

/** git's transport is a program of its own, and would finish alone. */
async function kill(pid: number | undefined): Promise<void> {
  killAll(await family(pid ?? 0));
}

async function makeTrouble(dice: Dice, end: number): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'gantry-clones-'));
  const authorization = `Authorization: Basic ${Buffer.from(`ana:${await rig.token}`).toString('base64')}`;
  for (let count = 0; performance.now() < end; count += 1) {
    const app = dice.pick(apps);
    const copy = join(folder, String(count));
    switch (dice.below(3)) {
      case 0: {
        const clone = await gitClient().run(['clone', '--quiet', await rig.pushUrl(app), copy]);
        if (clone.code !== 0) throw new Error(`a clone of ${app} failed: ${clone.stderr}`);
        break;
      }
      case 1: {
        const child = gitClient().start(['clone', '--quiet', await rig.pushUrl(app), copy]);
        const end = resultOf(child);
        await sleep(dice.below(120));
        await kill(child.pid);
        await end; // it writes until then
        break;
      }
      default:
        await sendGarbage(garbage(dice, app, authorization), dice.below(200));
    }
    await rm(copy, { recursive: true, force: true });
    await sleep(dice.below(200));
  }
  await rm(folder, { recursive: true, force: true });
}

function garbage(dice: Dice, app: string, authorization: string): Buffer {
  const zeros = '0'.repeat(40);
  const post = (service: string, ...headers: string[]): string =>
    [
      `POST /${app}.git/git-${service} HTTP/1.1`,
      'Host: x',
      authorization,
      `Content-Type: application/x-git-${service}-request`,
      ...headers,
      '\r\n',
    ].join('\r\n');
  const command = `${zeros} ${'1'.repeat(40)} refs/heads/main\0report-status`;
  const packet = (command.length + 4).toString(16).padStart(4, '0') + command;
  return dice.pick([
    randomBytes(2000),
    Buffer.from('GET /../../etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n'),
    Buffer.from(`${post('receive-pack', 'Content-Length: 100000')}${packet}0000PACK`),
    Buffer.from(
      `${post('receive-pack', `Content-Length: ${packet.length + 24}`)}${packet}0000${'x'.repeat(20)}`,
    ),
    Buffer.from(`${post('receive-pack', 'Content-Encoding: gzip', 'Content-Length: 9')}not gzip!`),
    Buffer.from(`${post('upload-pack', 'Transfer-Encoding: chunked')}zz\r\n`),
    Buffer.from(`${post('upload-pack', 'Content-Length: 4')}ffff`),
    Buffer.from(
      `GET /${app}.git/info/refs?service=git-receive-pack HTTP/1.1\r\nHost: x\r\n${authorization}\r\n\r\n`,
    ),
  ]);
}

/** Sends it and leaves after a while, whatever comes back. */
async function sendGarbage(bytes: Buffer, leaveAfterMs: number): Promise<void> {
  const socket = connect(rig.port, '127.0.0.1');
  socket.on('error', () => {});
  socket.resume().write(bytes);
  await sleep(leaveAfterMs);
  socket.destroy();
}

async function killWorkers(dice: Dice, end: number): Promise<void> {
  for (let begin = end - soakMs; begin + killEveryMs <= end; begin += killEveryMs) {
    await sleep(begin + 5000 + dice.below(killEveryMs - 10_000) - performance.now());
    process.kill(await rig.workerPid(), 'SIGKILL');
  }
}

/** The app answers with the last commit that went live, its branch is that commit, and only builds have failed. */
async function expectLastLive({ app, repo, url }: Lane): Promise<void> {
  const { body } = await rig.api('GET', `/apps/${app}/deployments`);
  const { deployments } = JSON.parse(body) as {
    deployments: { number: number; state: string; commit: string; reason: string | null }[];
  };
  const live = deployments.find(({ state }) => state === 'live')?.commit ?? '';
  const version = (await repo.git('show', `${live}:version`)).stdout;
  expect((await rig.request(app)).body).toBe(version);
  await expect
    .poll(async () => (await repo.git('ls-remote', url, 'main')).stdout, { timeout: 10_000 })
    .toMatch(new RegExp(`^${live}`));
  const reasons = deployments.filter(({ state }) => state === 'failed').map(({ reason }) => reason);
  expect(reasons).toEqual(reasons.map(() => 'failed in build: RUN false exited with code 1'));
}

type OpenFiles = ReadonlyMap<string, number>;

/** How many the server and the worker have, by what they are; paths without the numbers in them. */
async function openFiles(): Promise<OpenFiles> {
  const open = new Map<string, number>();
  const parts = { server: rig.pid, worker: await rig.workerPid() };
  for (const [part, pid] of Object.entries(parts))
    for (const file of await readdir(`/proc/${pid}/fd`)) {
      const target = await readlink(`/proc/${pid}/fd/${file}`).catch(() => 'closed meanwhile');
      const kind = `${part}: ${target.replace(/\d+/g, 'N')}`;
      open.set(kind, (open.get(kind) ?? 0) + 1);
    }
  return open;
}

/** Connections that are kept for the next request come and go. */
async function growth(before: OpenFiles): Promise<string[]> {
  const grown = [...(await openFiles())].map(([kind, count]) => ({
    kind,
    more: count - (before.get(kind) ?? 0),
    allowed: kind.includes('socket') ? 12 : 1,
  }));
  return grown
    .filter(({ more, allowed }) => more > allowed)
    .map(({ kind, more }) => `${more} more of ${kind}`);
}
