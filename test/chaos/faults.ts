import { setTimeout as sleep } from 'node:timers/promises';
import type { Failpoint } from '../../src/failpoint.ts';
import { killAll, processesIn } from '../support/processes.ts';
import { fillDisk, fillInodes, makeReadOnly } from './small-disk.ts';
import type { Place, Stage } from './stage.ts';

export type Fault = {
  name: string;
  place: Place;
  /** Does the harm while the process `pid` waits at the failpoint. What it answers ends the harm, once that process went on. */
  inflict: (stage: Stage, pid: number, signal: AbortSignal) => Promise<AsyncDisposable | undefined>;
  /** Seconds for which visitors may be turned away, because what serves them is what was killed. */
  outage?: number;
  /** What the push says is no verdict: it is cut off, or git itself cannot do the last thing. */
  cutsPush?: (failpoint: Failpoint, said: string) => boolean;
  /** Whether the deployment may come to nothing, with a reason, or never be there. */
  mayFail?: (failpoint: Failpoint) => boolean;
};

/** Nothing was promised before the deployment was written down. */
const isUnpromised = (failpoint: Failpoint): boolean => failpoint === 'before request';

export function faultsOf({ pauseMs }: { pauseMs: number }): Fault[] {
  return [
    {
      name: 'kill -9 worker',
      place: 'small disk',
      inflict: async ({ rig }) => {
        process.kill(await rig.workerPid(), 'SIGKILL');
        return undefined;
      },
    },
    {
      name: 'kill -9 server',
      place: 'small disk',
      cutsPush: () => true,
      mayFail: isUnpromised,
      inflict: async ({ rig, failpoints }) => {
        await rig.crash();
        failpoints.release(); // its worker goes down with it, and must not wait for ever
        await rig.start();
        return undefined;
      },
    },
    {
      name: 'kill -9 Redis',
      place: 'small disk',
      inflict: async ({ rig }) => {
        process.kill(await rig.redisPid(), 'SIGKILL');
        return undefined;
      },
    },
    {
      name: 'kill -9 router',
      place: 'small disk',
      outage: 3,
      inflict: async ({ rig }) => {
        killAll(await processesIn(rig.dataDir, 'haproxy'));
        return undefined;
      },
    },
    {
      name: 'kill -9 engine',
      place: 'own engine',
      // What runs in containers is ended with it and started again.
      outage: 20,
      mayFail: () => true,
      inflict: async ({ engine }) => {
        await engine?.kill9();
        await engine?.startDaemon();
        return undefined;
      },
    },
    {
      name: `pause ${pauseMs / 1000} s`,
      place: 'small disk',
      inflict: async (stage, pid, signal) => {
        const other = stage.addWorker();
        process.kill(pid, 'SIGSTOP');
        stage.failpoints.release();
        await sleep(pauseMs, undefined, { signal }).catch(() => {}); // it goes on also when all is to end
        process.kill(pid, 'SIGCONT');
        return other;
      },
    },
    ...Object.entries({
      'disk full': fillDisk,
      'no inodes left': fillInodes,
      'disk read-only': makeReadOnly,
    }).map(
      ([name, harm]): Fault => ({
        name,
        place: 'small disk',
        mayFail: () => true,
        // It is git that moves the branch, and says that it cannot.
        cutsPush: (failpoint, said) => failpoint.endsWith(' report') || said.includes('failed to update ref'),
        inflict: async ({ rig }) => harm(rig.dataDir),
      }),
    ),
  ];
}
