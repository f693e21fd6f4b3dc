import type { AppName, CommitSha } from './app.ts';

/** Immutable, numbered result of a deployment that went live: image + variables + commit. Deployment #43 makes release v43. */
export type Release = {
  app: AppName;
  number: number;
  image: string;
  commit: CommitSha;
  subject: string;
  by: string;
  createdAt: Date;
};
