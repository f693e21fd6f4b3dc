import { type CommitSha, shortSha } from './app.ts';
import { type ImageSource, showImageSource } from './image-reference.ts';

/** Where the files of a deployment or release come from: a commit that is built, or an image. */
export type Source = {
  /** Empty when it is an image. */
  commit: CommitSha;
  pull: ImageSource | undefined;
};

/** `7a80db5` or `shop:1.2@sha256:1a2b3c4d5e6f`. */
export function showSource({ commit, pull }: Source): string {
  return pull ? showImageSource(pull) : shortSha(commit);
}

/** What stands for the commit where there is none. */
export const noCommit = '' as CommitSha;
