import type { Engine } from '../docker/engine.ts';
import type { AppName } from '../domain/app.ts';
import type { AppSettings } from '../domain/app-settings.ts';
import type { CronEntry } from '../domain/cron-file.ts';
import type { Deployment } from '../domain/deployment.ts';
import type { GoBack } from '../domain/go-back.ts';
import type { InjectedFacts } from '../domain/injected-env.ts';
import type { Measure } from '../domain/measurement.ts';
import type { RegistryLogin } from '../domain/registry-login.ts';
import type { ReleaseImage } from '../domain/release.ts';
import type { Endpoint } from '../domain/route.ts';
import type { BoundService } from '../domain/service.ts';
import type { Repository } from '../git/repository.ts';
import type { SubmoduleProblem, SubmoduleRequest } from '../git/submodules.ts';
import type { DeployLog } from './deploy-log.ts';
import type { HookResult, HookRun } from './hook-sandbox.ts';

/** A deployment at work: what is to be done, with what, and how to tell. Handed from step to step. */
export type Attempt = {
  deployment: Deployment;
  /** `app_` and a UUID. */
  appId: string;
  settings: AppSettings;
  /** The public port of its TCP service, should it have one. */
  tcpPort: number | undefined;
  /** The app's own variables as they were when the deployment was asked for. */
  appEnv: Readonly<Record<string, string>>;
  /** Those bound to the app when this began. */
  services: readonly BoundService[];
  /** Its host names. */
  hosts: readonly string[];
  /** The release that serves while this deployment is made. */
  serving: number | undefined;
  log: DeployLog;
  signal: AbortSignal;
  /** Throws unless this worker still owns the app. Called before everything that others can see. */
  guard: () => void;
  /** Like `guard`, also after the deployment was stopped: throws only when somebody else may own the app. */
  assertOwned: () => void;
  /**
   * Hides the values of the app's variables and the credentials of its services. To be done before a text is cut: half of a
   * value is not recognised.
   */
  mask: (text: string) => string;
  tools: DeployTools;
};

/** What is done to an app outside a deployment of it. */
export type Owned = Pick<Attempt, 'guard' | 'tools'>;

/** What the pipeline needs of the world around it. */
export type DeployTools = {
  engine: Engine;
  repository: (app: AppName) => Repository;
  fetchSubmodules: (
    request: Omit<SubmoduleRequest, 'repository' | 'knownHostsFile'> & { app: AppName },
  ) => Promise<SubmoduleProblem | undefined>;
  runHook: (run: HookRun) => Promise<HookResult>;
  /** A range for the app's network that is not in `taken`, sixteen addresses as `a.b.c.d/28`. */
  allocateSubnet: (app: AppName, taken: readonly string[], network: string) => Promise<string>;
  /**
   * Records the release and points the route at its containers; returns the route's version. A rollback makes the
   * settings of the app those it goes back to, too.
   */
  switchRoute: (
    attempt: Attempt,
    endpoints: readonly Endpoint[],
    image: ReleaseImage,
    back?: GoBack,
  ) => Promise<number>;
  /** `waiting`: names of variables and options that were set but never in force; they stay. */
  planGoBack: (attempt: Attempt) => Promise<{ back: GoBack; waiting: readonly string[] }>;
  /** Remembers what the deployment's release is to run at which times. */
  recordCron: (attempt: Attempt, entries: readonly CronEntry[]) => Promise<void>;
  /** Where the image of the deployment is besides here, as somebody else would deploy it. */
  recordPublished: (attempt: Attempt, reference: string) => Promise<void>;
  /** The server's own, where built images go unless the app says otherwise; and its login there, should it need one. */
  registry: string | undefined;
  registryLogin: () => Promise<{ username: string; password: string } | undefined>;
  /** Nothing of an app that is deleted is on the engine any more. */
  markEmptied: (app: AppName) => Promise<void>;
  /** How much is free where builds need it. */
  freeSpace: () => Promise<readonly { folder: string; of: string; bytes: number }[]>;
  /** Of releases past the kept ones; returns whose went. */
  freeImages: (app: AppName) => Promise<readonly number[]>;
  /** Down to its budget; may take long. */
  trimBuildCache: () => Promise<void>;
  /** How many bytes that freed since somebody was told before. */
  takeTrimmedBytes: () => number;
  /** Takes the switch back: what served before serves again. */
  switchBack: (attempt: Attempt) => Promise<void>;
  /** Takes what serves out of the route, to be stopped; returns it, and the route's version. */
  pauseRoute: (app: AppName) => Promise<{ version: number; endpoints: readonly Endpoint[] }>;
  /** Those of the paused endpoints that run again serve again; returns the route's version. */
  resumeRoute: (app: AppName, containers: readonly string[]) => Promise<number>;
  /** These instances of the live release serve, and so many more should; returns the route's version. */
  serve: (
    app: AppName,
    serving: { release: number; live: readonly Endpoint[]; missing: number },
  ) => Promise<number>;
  /** Takes everything out of the route of an app that is to be stopped; `undefined`: it is not, or not now. */
  stopRoute: (app: AppName) => Promise<number | undefined>;
  /** Nothing of it runs any more. */
  markStopped: (app: AppName) => Promise<void>;
  paused: (app: AppName) => Promise<readonly Endpoint[]>;
  /** Resolves when every router follows the version; false when none did within the limit. */
  routeApplied: (app: AppName, version: number, limitMs: number, signal: AbortSignal) => Promise<boolean>;
  /** Resolves to true when the replaced containers have nothing in flight, to false at the limit. */
  drained: (app: AppName, limitMs: number) => Promise<boolean>;
  /** The app's login at a registry, for its own image. */
  imageLogin: (app: AppName, host: string) => Promise<RegistryLogin | undefined>;
  /** Remembers what the reference of its image turned out to be. */
  recordDigest: (attempt: Attempt, digest: string) => Promise<void>;
  measure: Measure;
  workDir: string;
  /** The engine's socket. */
  dockerSocket: string;
  /** Short name of this Gantry, in names of containers, networks and images. */
  storeTag: string;
  storeId: string;
  fence: number;
  limits: {
    buildTimeoutMs: number;
    hookTimeoutMs: number;
    hookMemoryBytes: number;
    hookProcesses: number;
    healthTimeoutMs: number;
    switchTimeoutMs: number;
    drainTimeoutMs: number;
    stopTimeoutMs: number;
    memoryBytes: number;
    diskFloorBytes: number;
  };
};

/** The limit of each instance. */
export function memoryOf({ deployment, tools }: Attempt): number {
  return deployment.options.memoryBytes ?? tools.limits.memoryBytes;
}

/** What the injected variables of this deployment are made of. */
export function injectedFacts(attempt: Attempt): InjectedFacts {
  const { appId, deployment, settings, services, hosts } = attempt;
  const { app, number, commit, pull } = deployment;
  const memoryBytes = memoryOf(attempt);
  const isPulled = pull !== undefined;
  return { appId, app, number, commit, port: settings.port, services, hosts, memoryBytes, isPulled };
}

/** CC_TASK or the app's option: a deployment runs the container once and serves nothing. */
export function isTask({ settings, deployment }: Pick<Attempt, 'settings' | 'deployment'>): boolean {
  return settings.isTask || deployment.options.task;
}
