import type { ContainerInspectInfo } from 'dockerode';
import type { ContainerState } from '../domain/container.ts';
import { keptPolicy } from './restart-policy.ts';

export function containerState(inspected: ContainerInspectInfo): ContainerState {
  const { State, NetworkSettings } = inspected;
  // While the engine waits to restart it, a container counts as running although no process is there.
  const isRunning = State.Running && !State.Restarting;
  // The engine forgets IPAddress when it stops; the configured one stays.
  const networks = Object.fromEntries(
    Object.entries(NetworkSettings.Networks ?? {}).map(([name, { IPAMConfig, IPAddress }]) => [
      name,
      IPAMConfig?.IPv4Address || IPAddress || '',
    ]),
  );
  return {
    id: inspected.Id,
    name: inspected.Name.replace(/^\//, ''),
    labels: inspected.Config.Labels ?? {},
    running: isRunning,
    isRestarting: State.Restarting,
    restartCount: inspected.RestartCount,
    isKept: inspected.HostConfig.RestartPolicy?.Name === keptPolicy,
    exitCode: isRunning || State.Status === 'created' ? undefined : State.ExitCode,
    outOfMemory: State.OOMKilled,
    startedAt: State.StartedAt || undefined,
    endedAt: isRunning ? undefined : State.FinishedAt || undefined,
    memoryBytes: inspected.HostConfig.Memory || undefined,
    cpus: (inspected.HostConfig.NanoCpus ?? 0) / 1e9 || undefined,
    pid: State.Pid > 0 ? State.Pid : undefined,
    address: (networks[inspected.HostConfig.NetworkMode ?? ''] ?? Object.values(networks)[0]) || undefined,
    networks,
  };
}

/** It has exited at least once, whatever a restart policy made of that. */
export function hasExited(state: ContainerState): boolean {
  return !state.running || state.restartCount > 0;
}
