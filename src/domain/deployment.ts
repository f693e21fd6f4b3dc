import type { AppName } from './app.ts';
import type { AppOptions } from './app-options.ts';
import type { EnvChanges } from './env-changes.ts';
import type { Source } from './source.ts';

/** What started a deployment. */
export type Trigger =
  | 'push'
  | 'image'
  | 'webhook'
  | 'redeploy'
  | 'restart'
  | 'start'
  | 'retry'
  | 'rollback'
  | 'restore'
  /** Its release replaces one that crashed. */
  | 'crash';

export type DeploymentState = 'queued' | 'running' | 'live' | 'failed' | 'cancelled' | 'superseded';

export function isFinal(state: DeploymentState): boolean {
  return state !== 'queued' && state !== 'running';
}

/** One attempt to make a commit or an image live, numbered per app. */
export type Deployment = Source & {
  app: AppName;
  number: number;
  state: DeploymentState;
  trigger: Trigger;
  subject: string;
  /** The branch the commit was pushed to; empty for an image. */
  branch: string;
  /** Where the branch stood when the push began; all zeros for a new branch. */
  oldSha: string;
  /** Name of the account that asked for it. */
  by: string;
  noCache: boolean;
  /** The app's options as they were when it was asked for. */
  options: AppOptions;
  /** The image of the release that is started anew; without one, the commit is built or the image pulled. */
  image: string | undefined;
  /** The release whose image, variables and options are to be live again. */
  rollbackTo: number | undefined;
  /** Against the release that was live when it began; unknown until then. */
  envChanges: EnvChanges | undefined;
  /** How often a worker began it; more than once when a worker died. */
  runs: number;
  /** The route points at its container: from here on it can only become live. */
  switched: boolean;
  /** Somebody asked for its cancel, which comes true unless it has switched. */
  isToCancel: boolean;
  createdAt: Date;
  startedAt: Date | undefined;
  endedAt: Date | undefined;
  /** One line, when it did not become live. */
  reason: string | undefined;
  /** The step that failed. */
  step: Step | undefined;
  supersededBy: number | undefined;
  /** How its release ended soon after it went live, and what became of that. */
  crash: Crash | undefined;
  /** The release whose crash is the reason for it. */
  crashOf: number | undefined;
  /** Its verdict reached a connected pusher. */
  reported: boolean;
};

/** `lastLines`: of what its container printed. */
export type Crash = { reason: string; lastLines: readonly string[] };

export type Step =
  | 'checkout'
  | 'registry login'
  | 'pull'
  | 'pre-build hook'
  | 'build'
  | 'post-build hook'
  | 'test'
  | 'publish'
  | 'pre-run hook'
  | 'start'
  | 'health check'
  | 'task'
  | 'switch';

/** How a deployment ended. Expected failures of an app are values, never exceptions. */
export type DeployOutcome =
  /** `ranMs`: it was a task, which ran that long. */
  | { kind: 'live'; ranMs?: number }
  | ({ kind: 'failed'; step: Step } & Problem)
  | { kind: 'cancelled'; reason: string }
  | { kind: 'superseded'; by: number };

/** What is wrong with an app, for the person who pushed it. */
export type Problem = {
  /** Fits git's status line: no full stop, no line break. */
  reason: string;
  /** Facts about the cause, one line each. */
  details?: readonly string[];
  /** The last lines the command or container printed. */
  lastLines?: readonly string[];
  /** What to do next. */
  hints?: readonly string[];
};

/** Why a running deployment is told to stop; the reason of its AbortSignal. First cause wins. */
export type StopCause =
  | { kind: 'newer push'; by: number }
  | { kind: 'cancelled'; reason: string }
  | { kind: 'shutdown' }
  | { kind: 'lease lost' };

export class Stopped extends Error {
  readonly stop: StopCause;

  constructor(stop: StopCause) {
    super(`deployment stopped: ${stop.kind}`);
    this.name = 'Stopped';
    this.stop = stop;
  }
}
