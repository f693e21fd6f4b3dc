import { showMemory } from '../domain/app-options.ts';
import type { ContainerState } from '../domain/container.ts';
import type { Problem } from '../domain/deployment.ts';
import type { Listener } from './listening-sockets.ts';

/** How a container that should answer last behaved. */
export type Symptom =
  | { kind: 'refused' }
  | { kind: 'silent' }
  | { kind: 'broken'; message: string }
  | { kind: 'answered'; status: number }
  | { kind: 'exited'; state: ContainerState | 'gone' };

type Facts = {
  /** The paths that did not answer 200, and what they did last. */
  unhealthy: ReadonlyMap<string, Symptom>;
  /** Of how many. */
  pathCount: number;
  port: number;
  listeners: readonly Listener[];
  waitedMs: number;
  memoryBytes: number;
};

/** Turns a symptom into the likely cause and the next thing to do. */
export function explainUnhealthy(symptom: Symptom, facts: Facts): Problem {
  const problem = explainSymptom(symptom, facts);
  if (facts.pathCount === 1 || symptom.kind === 'exited' || symptom.kind === 'refused') return problem;
  const failing = [...facts.unhealthy].map(([path, how]) => `${path} ${showSymptom(how)}`);
  return {
    ...problem,
    reason: `${failing.length} of ${facts.pathCount} health checks failed: ${failing.join(', ')}`,
  };
}

/** In a word or two, behind the path that was asked. */
export function showSymptom(symptom: Symptom): string {
  switch (symptom.kind) {
    case 'answered':
      return String(symptom.status);
    case 'silent':
      return 'no answer';
    case 'broken':
      return 'no HTTP answer';
    case 'refused':
      return 'refused';
    case 'exited':
      return 'exited';
  }
}

function explainSymptom(symptom: Symptom, facts: Facts): Problem {
  const { port, listeners } = facts;
  const [path = '/'] = facts.unhealthy.keys();
  const waited = `${Math.round(facts.waitedMs / 1000)}s`;
  switch (symptom.kind) {
    case 'exited':
      return explainExit(symptom.state, facts.memoryBytes);
    case 'answered':
      return {
        reason: `GET ${path} answered ${symptom.status}, not 200, for ${waited}`,
        hints: [
          symptom.status === 404 || (symptom.status >= 300 && symptom.status < 400)
            ? 'set CC_HEALTH_CHECK_PATH to a path that answers 200'
            : 'the last lines of its output may say why',
        ],
      };
    case 'silent':
      return {
        reason: `GET ${path} was accepted but not answered within ${waited}`,
        hints: ['the app hangs or is very slow to start'],
      };
    case 'broken':
      return {
        reason: `GET ${path} got no HTTP answer`,
        details: [symptom.message],
        hints: [`port ${port} must speak plain HTTP`],
      };
    case 'refused':
      return explainRefusal(port, listeners);
  }
}

function explainRefusal(port: number, listeners: readonly Listener[]): Problem {
  const reason = `nothing listens on port ${port} inside the container`;
  const here = listeners.find((listener) => listener.port === port && listener.loopbackOnly);
  if (here) {
    return {
      reason: `it listens on ${show(here)} only, where nobody outside the container can reach it`,
      hints: [`listen on 0.0.0.0 and port $PORT (${port})`],
    };
  }
  const [other] = [...listeners].sort((a, b) => Number(a.loopbackOnly) - Number(b.loopbackOnly));
  if (!other) return { reason, hints: [`listen on 0.0.0.0 and port $PORT (${port})`] };
  return {
    reason,
    details: [`it listens on ${show(other)}`],
    hints: [
      other.loopbackOnly
        ? `listen on 0.0.0.0 and port $PORT (${port}), or set CC_DOCKER_EXPOSED_HTTP_PORT=${other.port} and listen on 0.0.0.0`
        : `listen on port $PORT (${port}), or set CC_DOCKER_EXPOSED_HTTP_PORT=${other.port}`,
    ],
  };
}

function explainExit(state: ContainerState | 'gone', memoryBytes: number): Problem {
  if (state === 'gone') return { reason: 'the container was removed by somebody else' };
  if (state.outOfMemory) {
    return {
      reason: `killed: out of memory (limit ${Math.round(memoryBytes / 1024 ** 2)} MiB)`,
      hints: [`give it more memory: gantry scale --memory ${showMemory(2 * memoryBytes)}`],
    };
  }
  const code = state.exitCode ?? 0;
  if (code > 128) return { reason: `it was ended by signal ${code - 128} (exit code ${code})` };
  return {
    reason: `it exited with code ${code}`,
    hints: code === 0 ? ['the command must keep running in the foreground'] : [],
  };
}

function show(listener: Listener): string {
  return listener.address.includes(':')
    ? `[${listener.address}]:${listener.port}`
    : `${listener.address}:${listener.port}`;
}
