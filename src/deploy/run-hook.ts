import type { Problem } from '../domain/deployment.ts';
import { tooLongToRun } from '../domain/env.ts';
import { hookEnv } from '../domain/injected-env.ts';
import { safeText } from '../domain/safe-text.ts';
import { type Attempt, injectedFacts } from './attempt.ts';
import type { Checkout } from './check-out.ts';
import { seconds } from './deploy-log.ts';
import { systemPath } from './hook-host.ts';
import { type HookResult, largestFileBytes } from './hook-sandbox.ts';
import { asCommand, explainScript, scriptFacts } from './hook-script.ts';

const lastLinesKept = 20;

/** Runs one of the app's hooks on this host, in the checkout. A problem when it did not end well. */
export async function runHostHook(
  attempt: Attempt,
  name: string,
  command: string | undefined,
  checkout: Checkout,
): Promise<Problem | undefined> {
  if (command === undefined) return undefined;
  const { log, tools, signal } = attempt;
  const began = performance.now();
  await log.heading(`${name[0]?.toUpperCase()}${name.slice(1)}`);
  const env = envOfHook(attempt, checkout.appDir);
  const tooLong = tooLongToRun(env);
  if (tooLong) return { reason: `${tooLong} is longer than 128 KiB, which no command can be started with` };

  attempt.guard();
  let lastLines: string[] = [];
  const report = async (lines: string[]): Promise<void> => {
    lastLines = [...lastLines, ...lines.slice(-lastLinesKept)].slice(-lastLinesKept);
    await log.output(...lines);
  };
  const started = await asCommand(command, checkout.appDir);
  const run = { command: started, checkout: checkout.dir, folder: checkout.appDir, env, report, signal };
  const result = await tools.runHook(run);
  signal.throwIfAborted();
  const shown = safeText(command.trim().split('\n')[0] ?? '', 80);
  const limits = reachedLimits(attempt, result);
  if (result.kind === 'exited' && result.code === 0) {
    for (const limit of limits) await log.warning(`the hook went on, but ${limit}`);
    await log.detail(`done in ${seconds(performance.now() - began)}`);
    return undefined;
  }
  if (result.kind === 'refused') {
    return {
      reason: 'the sandbox for hooks could not be made',
      details: [safeText(result.reason, 300)],
      hints: ['on the server:  gantry doctor  says what is missing'],
    };
  }
  const problem: Problem = { reason: '', details: limits, lastLines };
  if (result.kind === 'timed out') {
    return { ...problem, reason: `${shown} timed out after ${seconds(tools.limits.hookTimeoutMs)}` };
  }
  if (result.kind === 'disk full') {
    return {
      ...problem,
      reason: `${shown} was killed: the disk of the server was nearly full`,
      hints: ['gantry doctor  on the server says how much is free'],
    };
  }
  if (result.reached?.includes('memory')) {
    return {
      ...problem,
      reason: `${shown} was killed: out of memory (limit ${mebibytes(tools.limits.hookMemoryBytes)} MiB)`,
      hints: ['GANTRY_HOOK_MEMORY on the server gives hooks more'],
    };
  }
  if (result.kind === 'killed') return { ...problem, reason: `${shown} was killed by ${result.signal}` };
  if (result.code === tooLargeAFile) {
    return { ...problem, reason: `${shown} was ended: a file grew past ${largestFileBytes / 1024 ** 3} GiB` };
  }
  const script = await scriptFacts(started, checkout.appDir, checkout.dir, env.PATH ?? '');
  const blame = script && explainScript(script, result.code);
  return {
    ...problem,
    reason: blame?.reason ?? `${shown} exited with code ${result.code}`,
    hints: blame?.hints ?? exitHints(result.code, lastLines),
  };
}

/** 128 and the number of SIGXFSZ, as a shell tells it. */
const tooLargeAFile = 153;

/** The app's variables win over ours, as on any platform; the folder is theirs to know. */
function envOfHook(attempt: Attempt, appDir: string): Record<string, string> {
  return {
    HOME: appDir,
    PATH: systemPath,
    LANG: 'C.UTF-8',
    ...hookEnv(injectedFacts(attempt), appDir),
    ...attempt.appEnv,
  };
}

function reachedLimits({ tools }: Attempt, { reached = [] }: HookResult): string[] {
  const { hookMemoryBytes, hookProcesses } = tools.limits;
  return [
    ...(reached.includes('processes') ? [`it reached the limit of ${hookProcesses} processes`] : []),
    ...(reached.includes('memory')
      ? [`a process of it was killed: out of memory (limit ${mebibytes(hookMemoryBytes)} MiB)`]
      : []),
  ];
}

function mebibytes(bytes: number): number {
  return Math.round(bytes / 1024 ** 2);
}

function exitHints(code: number, lastLines: readonly string[]): string[] {
  if (lastLines.some((line) => /docker\.sock|docker daemon/i.test(line)))
    return ['hooks cannot reach the Docker engine; what an image needs belongs in the Dockerfile'];
  if (code === 126) return ['a file it runs is not executable:  git update-index --chmod=+x FILE'];
  if (code === 127) return ['a command was not found: hooks run on the host, not in your image'];
  return [];
}
