import { randomUUID } from 'node:crypto';
import type { Redis } from 'ioredis';
import type { AppName } from '../domain/app.ts';
import { isTaskOver, type Task, type TaskEnd, type TaskPlace, type TaskState } from '../domain/task.ts';
import type { TerminalWish } from '../domain/terminal.ts';
import { explainDeleted, refuseDeletedInLua } from './app-deletions.ts';
import { keys, type StoreEvent } from './keys.ts';
import type { Sealer } from './sealing.ts';

export type TaskRequest = Pick<Task, 'app' | 'command' | 'by'> & {
  name?: string;
  place?: TaskPlace;
  memoryBytes?: number;
  cron?: number;
  /** What the command reads; then its standard input ends. */
  stdin?: Buffer;
  terminal?: TerminalWish;
  /** Asking twice with one id makes one task. */
  requestId?: string;
};

/** What is remembered per app. */
const kept = 100;
const logForSeconds = 7 * 24 * 3600;

/** One-off tasks. Every change is one Lua script that may run twice with the same input. */
export class TaskStore {
  readonly #redis: Redis;
  readonly #sealer: Sealer;

  constructor(redis: Redis, sealer: Sealer) {
    this.#redis = redis;
    this.#sealer = sealer;
  }

  /** Returns the number. The queue has to be told. */
  async request(request: TaskRequest): Promise<number> {
    const { app, command, name, place, memoryBytes, by, cron, stdin, terminal } = request;
    const { requestId = randomUUID() } = request;
    const fields: Record<string, string> = {
      state: 'PENDING',
      command: JSON.stringify(command),
      name: name ?? '',
      place: place === undefined ? '' : JSON.stringify(place),
      memoryBytes: String(memoryBytes ?? ''),
      by,
      cron: cron === undefined ? '' : String(cron),
      requestId,
      terminal: terminal === undefined ? '' : JSON.stringify(terminal),
      stdin:
        stdin === undefined ? '' : this.#sealer.seal(stdin.toString('base64'), stdinContext(app, requestId)),
      createdAt: new Date().toISOString(),
    };
    const asked = this.#redis.eval(
      requestScript,
      4,
      keys.app(app),
      keys.tasks(app),
      keys.request(requestId),
      keys.openTasks,
      keys.task(app, 0).slice(0, -1),
      `${app}.`,
      ...Object.entries(fields).flat(),
    );
    const number = (await asked.catch(explainDeleted(app))) as number;
    await this.#forgetOld(app);
    return number;
  }

  async get(app: AppName, number: number): Promise<Task | undefined> {
    const fields = await this.#redis.hgetall(keys.task(app, number));
    return fields.state ? parseTask(app, number, fields) : undefined;
  }

  /** All that are not over, of every app. */
  async open(): Promise<{ app: AppName; number: number }[]> {
    return (await this.#redis.smembers(keys.openTasks)).map((name) => {
      const [app = '', number = ''] = name.split('.');
      return { app: app as AppName, number: Number(number) };
    });
  }

  /** The newest ones first. */
  async list(app: AppName, count = kept): Promise<Task[]> {
    const numbers = await this.#redis.zrevrange(keys.tasks(app), 0, count - 1);
    const tasks = await Promise.all(numbers.map((number) => this.get(app, Number(number))));
    return tasks.filter((task) => task !== undefined);
  }

  async stdin(app: AppName, number: number): Promise<Buffer | undefined> {
    const [sealed, id] = await this.#redis.hmget(keys.task(app, number), 'stdin', 'requestId');
    return sealed ? Buffer.from(this.#sealer.open(sealed, stdinContext(app, id ?? '')), 'base64') : undefined;
  }

  /** Takes a task for the worker that calls itself `fence`. `again`: from one that is dead or was stopped. */
  async claim(app: AppName, number: number, fence: string): Promise<'over' | 'first' | 'again'> {
    const claims = (await this.#redis.eval(claimScript, 1, keys.task(app, number), fence)) as number;
    return claims === 0 ? 'over' : claims === 1 ? 'first' : 'again';
  }

  /** Writes how a task ended, and the last record of its log; nothing when another worker has it by now. */
  async finish(app: AppName, number: number, fence: string, end: TaskEnd): Promise<void> {
    const exitCode = 'exitCode' in end ? end.exitCode : undefined;
    await this.#redis.eval(
      finishScript,
      3,
      keys.task(app, number),
      keys.taskLog(app, number),
      keys.openTasks,
      `${app}.${number}`,
      fence,
      exitCode === 0 ? 'SUCCEEDED' : 'FAILED',
      exitCode ?? '',
      'reason' in end ? end.reason : '',
      new Date().toISOString(),
      logForSeconds,
    );
  }

  /** Asks for its end; one that waits ends at once. */
  async cancel(app: AppName, number: number, by: string): Promise<'cancelled' | 'asked' | 'too late'> {
    const answer = (await this.#redis.eval(
      cancelScript,
      3,
      keys.task(app, number),
      keys.taskLog(app, number),
      keys.openTasks,
      `${app}.${number}`,
      `cancelled by ${by}`,
      new Date().toISOString(),
      logForSeconds,
    )) as 'cancelled' | 'asked' | 'too late';
    const event: StoreEvent = { kind: 'task', app, number };
    if (answer === 'asked') await this.#redis.publish(keys.channel, JSON.stringify(event));
    return answer;
  }

  /** A cron entry that was due while it still ran. */
  async recordSkip(app: AppName, entry: number): Promise<void> {
    await this.#redis.hset(keys.app(app), `cronSkipped.${entry}`, new Date().toISOString());
  }

  async lastSkip(app: AppName, entry: number): Promise<Date | undefined> {
    const at = await this.#redis.hget(keys.app(app), `cronSkipped.${entry}`);
    return at ? new Date(at) : undefined;
  }

  async #forgetOld(app: AppName): Promise<void> {
    for (const text of await this.#redis.zrevrange(keys.tasks(app), kept, -1)) {
      const number = Number(text);
      const task = await this.get(app, number);
      if (task && !isTaskOver(task.state)) continue;
      await this.#redis
        .multi()
        .del(keys.task(app, number), keys.taskLog(app, number))
        .zrem(keys.tasks(app), number)
        .exec();
    }
  }
}

function stdinContext(app: AppName, requestId: string): string {
  return `${app}\0task ${requestId}`;
}

function parseTask(app: AppName, number: number, fields: Record<string, string>): Task {
  return {
    app,
    number,
    state: fields.state as TaskState,
    command: JSON.parse(fields.command ?? '[]') as string[],
    name: fields.name || undefined,
    place: fields.place ? (JSON.parse(fields.place) as TaskPlace) : undefined,
    memoryBytes: fields.memoryBytes ? Number(fields.memoryBytes) : undefined,
    by: fields.by ?? '',
    cron: fields.cron ? Number(fields.cron) : undefined,
    terminal: fields.terminal ? (JSON.parse(fields.terminal) as TerminalWish) : undefined,
    createdAt: new Date(fields.createdAt ?? 0),
    endedAt: fields.endedAt ? new Date(fields.endedAt) : undefined,
    exitCode: fields.exitCode ? Number(fields.exitCode) : undefined,
    reason: fields.reason || undefined,
  };
}

const requestScript = `
local appKey, tasksKey, requestKey, openKey = unpack(KEYS)
local made = redis.call('GET', requestKey)
if made then return tonumber(made) end
${refuseDeletedInLua}local number = redis.call('HINCRBY', appKey, 'taskSeq', 1)
redis.call('HSET', ARGV[1] .. number, unpack(ARGV, 3))
redis.call('SADD', openKey, ARGV[2] .. number)
redis.call('ZADD', tasksKey, number, number)
redis.call('SET', requestKey, number, 'EX', 86400)
return number
`;

const claimScript = `
local state = redis.call('HGET', KEYS[1], 'state')
if not state or state == 'SUCCEEDED' or state == 'FAILED' then return 0 end
if state == 'PENDING' then redis.call('HSET', KEYS[1], 'state', 'RUNNING') end
if redis.call('HGET', KEYS[1], 'fence') ~= ARGV[1] then
  redis.call('HSET', KEYS[1], 'fence', ARGV[1])
  redis.call('HINCRBY', KEYS[1], 'claims', 1)
end
return tonumber(redis.call('HGET', KEYS[1], 'claims'))
`;

const endInLua = `
local function finish(state, exitCode, reason, now, logFor)
  local taskKey, logKey, openKey = unpack(KEYS)
  redis.call('SREM', openKey, ARGV[1])
  redis.call('HSET', taskKey, 'state', state, 'exitCode', exitCode, 'reason', reason, 'endedAt', now, 'stdin', '')
  redis.call('XADD', logKey, '*', 'end', state)
  redis.call('EXPIRE', logKey, logFor)
end
`;

const finishScript = `${endInLua}
local fence, state, exitCode, reason, now, logFor = unpack(ARGV, 2)
local task = redis.call('HMGET', KEYS[1], 'fence', 'state')
if task[1] ~= fence or task[2] == 'SUCCEEDED' or task[2] == 'FAILED' then return 0 end
finish(state, exitCode, reason, now, logFor)
return 1
`;

const cancelScript = `${endInLua}
local reason, now, logFor = unpack(ARGV, 2)
local state = redis.call('HGET', KEYS[1], 'state')
if state == 'PENDING' then
  finish('FAILED', '', reason, now, logFor)
  return 'cancelled'
end
if state ~= 'RUNNING' and state ~= 'CANCELING' then return 'too late' end
redis.call('HSET', KEYS[1], 'state', 'CANCELING', 'cancel', reason)
return 'asked'
`;
