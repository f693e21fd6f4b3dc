import { showMemory } from '../domain/app-options.ts';
import type { ContainerState } from '../domain/container.ts';
import type { Problem } from '../domain/deployment.ts';
import { machineRefusal } from '../errors.ts';
import type { HealthCheck } from './health-check.ts';
import type { Listener } from './listening-sockets.ts';

/** How a container that should answer last behaved. */
export type Symptom =
  | { kind: 'refused' }
  | { kind: 'silent' }
  | { kind: 'broken'; message: string }
  | { kind: 'answered'; status: number }
  /** A connection that nothing more is asked of. */
  | { kind: 'connected' }
  | { kind: 'exited'; state: ContainerState | 'gone' };

type Facts = {
  /** The checks that failed, and what they saw last. */
  unhealthy: ReadonlyMap<HealthCheck, Symptom>;
  /** Of how many. */
  checkCount: number;
  listeners: readonly Listener[];
  waitedMs: number;
  memoryBytes: number;
};

/** Turns a symptom into the likely cause and the next thing to do. */
export function explainUnhealthy(symptom: Symptom, facts: Facts): Problem {
  const problem = explainSymptom(symptom, facts);
  if (facts.checkCount === 1 || symptom.kind === 'exited') return problem;
  const failing = [...facts.unhealthy].map(([check, how]) => `${check.name} ${showSymptom(how)}`);
  // When nothing listens at all, the port says more than a list.
  if (symptom.kind === 'refused' && failing.length === facts.checkCount) return problem;
  return {
    ...problem,
    reason: `${failing.length} of ${facts.checkCount} health checks failed: ${failing.join(', ')}`,
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
    case 'connected':
      return 'connected';
    case 'exited':
      return 'exited';
  }
}

function explainSymptom(symptom: Symptom, facts: Facts): Problem {
  const { listeners } = facts;
  const [check = { name: 'GET /', kind: 'http', port: 8080 }] = facts.unhealthy.keys();
  const { name, port } = check;
  const waited = `${Math.round(facts.waitedMs / 1000)}s`;
  switch (symptom.kind) {
    case 'exited':
      return explainExit(symptom.state, facts.memoryBytes);
    case 'answered':
      return {
        reason: `${name} answered ${symptom.status}, not 200, for ${waited}`,
        hints: [
          symptom.status === 404 || (symptom.status >= 300 && symptom.status < 400)
            ? 'set CC_HEALTH_CHECK_PATH to a path that answers 200'
            : 'the last lines of its output may say why',
        ],
      };
    case 'silent':
      return {
        reason: `${name} was accepted but not answered within ${waited}`,
        hints: ['the app hangs or is very slow to start'],
      };
    case 'broken': {
      const refusal = machineRefusal(symptom.message);
      if (refusal) return { reason: `the app could not be asked: ${refusal.reason}`, hints: [refusal.fix] };
      return {
        reason: `${name} got no HTTP answer`,
        details: [symptom.message],
        hints: [`port ${port} must speak plain HTTP`],
      };
    }
    case 'refused':
      return check.kind === 'tcp' ? explainTcpRefusal(port, listeners) : explainRefusal(port, listeners);
    case 'connected':
      return { reason: `${name} was accepted too late` };
  }
}

function explainTcpRefusal(port: number, listeners: readonly Listener[]): Problem {
  return {
    reason: `nothing takes TCP connections on port ${port} of the container`,
    details: listeners.map((listener) => `it listens on ${show(listener)}`),
    hints: [
      `listen on 0.0.0.0 and port ${port}, or set CC_DOCKER_EXPOSED_TCP_PORT to the port it listens on`,
      'an app without a TCP service: gantry tcp disable',
    ],
  };
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

export function outOfMemory(memoryBytes: number): Problem {
  return {
    reason: `killed: out of memory (limit ${Math.round(memoryBytes / 1024 ** 2)} MiB)`,
    hints: [`give it more memory: gantry scale --memory ${showMemory(2 * memoryBytes)}`],
  };
}

export function explainExit(state: ContainerState | 'gone', memoryBytes: number): Problem {
  if (state === 'gone') return { reason: 'the container was removed by somebody else' };
  if (state.outOfMemory) return outOfMemory(memoryBytes);
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
