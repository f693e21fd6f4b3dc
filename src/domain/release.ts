import type { AppName, CommitSha } from './app.ts';
import type { CronEntry } from './cron-file.ts';

/** Immutable, numbered result of a deployment that went live: image + variables + commit. Deployment #43 makes release v43. */
export type Release = {
  app: AppName;
  number: number;
  image: string;
  commit: CommitSha;
  subject: string;
  by: string;
  /** What is run at which times while it is live. */
  cron: readonly CronEntry[];
  createdAt: Date;
};
