import type { AppName } from './app.ts';
import type { AppOptions } from './app-options.ts';
import type { CronEntry } from './cron-file.ts';
import type { Trigger } from './deployment.ts';
import type { EnvChanges } from './env-changes.ts';
import type { Source } from './source.ts';

/** An image of the engine. */
export type ReleaseImage = { name: string; id: string | undefined; bytes: number | undefined };

/**
 * Immutable, numbered result of a deployment that went live: image + variables + where that image came from. Deployment #43
 * makes release v43.
 */
export type Release = Source & {
  app: AppName;
  number: number;
  image: string;
  /** The engine's id of the image: the same for a restart, however it is called. */
  imageId: string | undefined;
  imageBytes: number | undefined;
  /** False once its image is gone from the engine. */
  isKept: boolean;
  /** Where its image is besides, with the digest. */
  published: string | undefined;
  subject: string;
  by: string;
  trigger: Trigger;
  /** The release it brought back. */
  rollbackTo: number | undefined;
  options: AppOptions;
  /** Against the release before. */
  envChanges: EnvChanges | undefined;
  /** What is run at which times while it is live. */
  cron: readonly CronEntry[];
  createdAt: Date;
  /** It crashed soon after. */
  hasCrashed: boolean;
};
