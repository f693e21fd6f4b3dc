import { createInterface } from 'node:readline';
import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import type { acceptedShape, cancelShape } from '../api/contract/deployments.ts';
import type { taskShape, tasksShape } from '../api/contract/tasks.ts';
import { parseMemory, showMemory } from '../domain/app-options.ts';
import type { LogLine } from '../domain/log-line.ts';
import { appName, call, oneOf, readPatiently, request } from './api-client.ts';
import { ApiError, UsageError } from './exit-code.ts';
import { printJson, printTable } from './print.ts';
import { type JoinedWith, joinCommand, ourScreen } from './terminal.ts';

type Options = { app?: string; detach?: boolean; json?: boolean; tty?: boolean };

const longestInput = 1024 ** 2;

/**
 * Runs a command in a container of the live release; its output is ours, and so is its exit code. Between two terminals it gets one
 * itself.
 */
export async function runCommand(command: string[], options: Options): Promise<void> {
  const app = await appName(options.app);
  const stdin = process.stdin.isTTY ? undefined : await buffer(process.stdin);
  if (stdin && stdin.length > longestInput)
    throw new UsageError('standard input is larger than 1 MiB; put it where the command can fetch it');
  const screen = options.detach ? undefined : ourScreen(options);
  const { number } = await call<typeof acceptedShape>('POST', `/apps/${app}/tasks`, {
    command,
    ...(stdin && stdin.length > 0 && { stdin: stdin.toString('base64') }),
    ...(screen && { terminal: screen }),
  });
  if (options.detach) return console.log(`task ${number}`);
  process.once('SIGINT', () => {
    console.error(`\nstopping task ${number}; once more to leave it alone`);
    void cancel(app, number).catch(() => {});
  });
  if (screen) {
    console.error(`task ${number}`);
    await join(app, number, 'terminal');
  } else await printOutput(app, String(number));
  await endAs(app, number);
}

async function cancel(app: string, number: number): Promise<void> {
  await call('POST', `/apps/${app}/tasks/${number}/cancel`, {});
}

async function join(app: string, number: number, joined: JoinedWith): Promise<void> {
  const path = `/apps/${app}/tasks/${number}/terminal`;
  await joinCommand(path, joined, () => cancel(app, number), `gantry tasks cancel ${number} --app ${app}`);
}

async function endAs(app: string, number: number): Promise<void> {
  const task = await readPatiently<typeof taskShape>(`/apps/${app}/tasks/${number}`);
  if (task.reason !== null) console.error(`error: ${task.reason}`);
  process.exitCode = task.exitCode ?? 1;
}

type ExecOptions = { app?: string; instance?: string; deploy?: string; tty?: boolean };

/**
 * Runs a command in a container that serves, or in one that was kept of a deployment that failed. It has our terminal, or else our
 * standard streams as they are, and ends with us.
 */
export async function exec(command: string[], options: ExecOptions, given?: string): Promise<void> {
  const app = await appName(oneOf(given, options.app));
  const screen = ourScreen(options);
  const { number } = await call<typeof acceptedShape>('POST', `/apps/${app}/exec`, {
    command,
    instance: wholeNumber(options.instance ?? '0', 'instance'),
    ...(options.deploy !== undefined && { deployment: wholeNumber(options.deploy, 'deployment') }),
    ...(screen && { terminal: screen }),
  });
  let isInterrupted = false;
  process.once('SIGINT', () => {
    isInterrupted = true;
    void cancel(app, number).catch(() => {});
  });
  await join(app, number, screen ? 'terminal' : 'streams');
  await endAs(app, number);
  if (isInterrupted) process.exitCode = 130;
  // A terminal that is read may keep us.
  process.stdin.destroy();
}

/** Of a container: bash where there is one. */
export const shell = ['sh', '-c', 'command -v bash >/dev/null && exec bash; exec sh'];

function wholeNumber(text: string, of: string): number {
  if (!/^\d{1,9}$/.test(text)) throw new UsageError(`"${text}" is no number of a ${of}`);
  return Number(text);
}

/** `gantry run APP --detach -- COMMAND`: what stands there is not the command's, and is not parsed with ours. */
export function optionsBehindApp(words: readonly string[]): Pick<Options, 'detach' | 'tty'> {
  const known: Record<string, Pick<Options, 'detach' | 'tty'>> = {
    '--': {},
    '--detach': { detach: true },
    '--no-tty': { tty: false },
  };
  return Object.assign(
    {},
    ...words.map((word) => {
      if (known[word] === undefined)
        throw new UsageError(`what is ${word}? gantry run [options] [APP] -- COMMAND`);
      return known[word];
    }),
  ) as Pick<Options, 'detach' | 'tty'>;
}

/** `[APP] -- COMMAND`. */
export function splitAtDashes(words: string[]): { app?: string; command: string[] } {
  const dashes = process.argv.indexOf('--');
  const command = dashes === -1 ? [] : process.argv.slice(dashes + 1);
  const [app, ...more] = words.slice(0, words.length - command.length);
  if (command.length === 0 || more.length > 0)
    throw new UsageError('gantry exec [APP] [--instance N] -- COMMAND');
  return { command, ...(app !== undefined && { app }) };
}

export type NewTask = { command: string; name?: string; memory?: string; wait?: boolean; json?: boolean };

/** Cloud Foundry's way: a command line for `sh`, which runs on its own unless it is waited for. */
export async function runTask(given: string, options: NewTask): Promise<void> {
  const app = encodeURIComponent(given);
  const { command, name, memory, wait } = options;
  const bytes = memory === undefined ? undefined : parseMemory(memory);
  if (memory !== undefined && bytes === undefined)
    throw new UsageError(`"${memory}" is no size of a memory: write 512M or 2G, at least 6M`);
  const { number } = await call<typeof acceptedShape>('POST', `/apps/${app}/tasks`, {
    command: ['sh', '-c', command],
    ...(name !== undefined && { name }),
    ...(bytes !== undefined && { memory: bytes }),
  });
  if (!wait) {
    if (options.json) return printJson({ number });
    console.log(`task ${number}`);
    return console.error(`follow it: gantry tasks logs ${number} --app ${given}`);
  }
  await printOutput(app, String(number));
  const task = await readPatiently<typeof taskShape>(`/apps/${app}/tasks/${number}`);
  console.error(`task ${number} ${task.state}${task.reason === null ? '' : `: ${task.reason}`}`);
  process.exitCode = task.exitCode ?? 1;
}

export async function listTasks(options: Options): Promise<void> {
  const { tasks } = await call<typeof tasksShape>('GET', `/apps/${await appName(options.app)}/tasks`);
  if (options.json) return printJson(tasks);
  printTable(
    ['TASK', 'STATE', 'EXIT', 'NAME', 'BY', 'WHEN', 'COMMAND'],
    tasks.map(({ number, name, state, exitCode, by, createdAt, command, reason }) => [
      String(number),
      state,
      exitCode === null ? (reason ?? '-') : String(exitCode),
      name ?? '-',
      by,
      createdAt,
      command.join(' '),
    ]),
  );
}

export async function showTask(number: string, options: Options): Promise<void> {
  const task = await call<typeof taskShape>('GET', await pathOf(number, options));
  if (options.json) return printJson(task);
  printTable(
    ['TASK', String(task.number)],
    [
      ['name', task.name ?? '-'],
      ['state', task.state],
      ['command', task.command.join(' ')],
      ['exit code', task.exitCode === null ? '-' : String(task.exitCode)],
      ['reason', task.reason ?? '-'],
      ['memory', task.memory === null ? 'of an instance' : showMemory(task.memory)],
      ['by', task.by],
      ['created', task.createdAt],
      ['ended', task.endedAt ?? '-'],
    ],
  );
}

export async function taskLogs(number: string, options: Options): Promise<void> {
  await printOutput(await appName(options.app), encodeURIComponent(number));
}

export async function cancelTask(number: string, options: Options): Promise<void> {
  const { result } = await call<typeof cancelShape>('POST', `${await pathOf(number, options)}/cancel`, {});
  if (result === 'too late') throw new ApiError(409, `task ${number} is over`);
  console.error(result === 'cancelled' ? `task ${number} is cancelled` : `task ${number} was asked to stop`);
}

async function pathOf(number: string, options: Options): Promise<string> {
  return `/apps/${await appName(options.app)}/tasks/${encodeURIComponent(number)}`;
}

/** What the command prints as it is; what we say about it goes beside it. */
async function printOutput(app: string, number: string): Promise<void> {
  const response = await request('GET', `/apps/${app}/tasks/${number}/logs`);
  if (!response.body) return;
  const lines = createInterface({
    input: Readable.fromWeb(response.body as Parameters<typeof Readable.fromWeb>[0]),
  });
  for await (const line of lines) {
    if (line === '') continue;
    const record = JSON.parse(line) as LogLine & { end?: string };
    if (record.end !== undefined) return;
    if (record.kind === 'output') console.log(record.text);
    else console.error(record.text);
  }
  throw new ApiError(503, 'the connection ended before the task did', `gantry tasks logs ${number}`);
}
