import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { CommitSha } from '../domain/app.ts';
import { parseRemoteUrl } from '../domain/remote-url.ts';
import { messageOf } from '../errors.ts';
import { timeoutSignal } from '../timeout-signal.ts';
import { explainFetch, type FetchWords } from './explain-fetch.ts';
import { type FetchSettings, fetchCommit, writeKeyFile } from './fetch-commit.ts';
import { publicAddress } from './public-address.ts';
import type { Repository } from './repository.ts';

export type UpstreamPlace = FetchSettings & {
  /** Nobody but us may see into it. */
  scratch: string;
  knownHostsFile: string;
  maxBytes: number;
};

const timeLimitMs = 10 * 60_000;

const words: FetchWords = {
  key: 'the key of the link',
  giveKey: 'link again with --key FILE',
  url: 'the link',
  push: 'the delivery may be of another repository',
};

/**
 * Brings one commit, and what came before it, from another server into the repository of an app; nothing of one that
 * cannot be had stays. Returns why it could not.
 */
export async function fetchUpstream(
  repository: Repository,
  url: string,
  sshKey: string | undefined,
  commit: CommitSha,
  place: UpstreamPlace,
): Promise<{ problem: string; hint?: string | undefined } | undefined> {
  if ((await repository.commitInfo(commit)) && (await repository.hasWholeHistory(commit))) return undefined;
  const from = parseRemoteUrl(url);
  if ('problem' in from) return from;
  if (from.protocol === 'ssh' && sshKey === undefined)
    return { problem: 'ssh needs a key', hint: words.giveKey };
  const address = await publicAddress(from.host, place.allowedInternal);
  if ('problem' in address) return address;

  await mkdir(place.scratch, { recursive: true, mode: 0o700 });
  await mkdir(dirname(place.knownHostsFile), { recursive: true, mode: 0o700 });
  const folder = await mkdtemp(join(place.scratch, 'fetch-'));
  const signal = timeoutSignal(timeLimitMs);
  try {
    const keyFile = sshKey === undefined ? undefined : join(folder, 'key');
    if (keyFile !== undefined) await writeKeyFile(keyFile, sshKey ?? '');
    const fetched = await fetchCommit(from, commit, {
      ...place,
      dir: join(folder, 'fetched.git'),
      address: address.address,
      keyFile,
      signal,
      beside: repository,
    });
    await repository.takeCommit(commit, fetched);
    return undefined;
  } catch (error) {
    if (signal.aborted) return { problem: `it took more than ${timeLimitMs / 60_000} minutes` };
    const [problem, hint] = explainFetch(messageOf(error), from, commit, words);
    return { problem, hint };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
