import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { CommitSha } from '../domain/app.ts';
import { parseRemoteUrl, type RemoteUrl } from '../domain/remote-url.ts';
import { messageOf } from '../errors.ts';
import { timeoutSignal } from '../timeout-signal.ts';
import { explainFetch, type FetchWords } from './explain-fetch.ts';
import {
  askForBranch,
  type FetchSettings,
  fetchCommit,
  type RemotePlace,
  writeKeyFile,
} from './fetch-commit.ts';
import { publicAddress } from './public-address.ts';
import type { Repository } from './repository.ts';

export type UpstreamPlace = FetchSettings & {
  /** Nobody but us may see into it. */
  scratch: string;
  knownHostsFile: string;
  maxBytes: number;
};

const fetchLimitMs = 10 * 60_000;
const askLimitMs = 2 * 60_000;

const words: FetchWords = {
  key: 'the key of the link',
  giveKey: 'link again with --key FILE',
  url: 'the link',
  push: 'the delivery may be of another repository',
};

type Problem = { problem: string; hint?: string | undefined };

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
): Promise<Problem | undefined> {
  if ((await repository.commitInfo(commit)) && (await repository.hasWholeHistory(commit))) return undefined;
  return atRemote({ url, sshKey, commit, timeLimitMs: fetchLimitMs }, place, async (from, remote) => {
    const fetched = await fetchCommit(from, commit, { ...place, ...remote, beside: repository });
    await repository.takeCommit(commit, fetched);
    return undefined;
  });
}

/** The commit a branch ends in on another server. Nothing of it is brought here. */
export async function branchTip(
  url: string,
  sshKey: string | undefined,
  branch: string,
  place: UpstreamPlace,
): Promise<{ commit: CommitSha } | Problem> {
  return atRemote({ url, sshKey, timeLimitMs: askLimitMs }, place, async (from, remote) => {
    const commit = await askForBranch(from, branch, { ...place, ...remote });
    return commit ? { commit } : { problem: `it has no branch ${branch}` };
  });
}

async function atRemote<T>(
  {
    url,
    sshKey,
    commit,
    timeLimitMs,
  }: { url: string; sshKey: string | undefined; commit?: CommitSha; timeLimitMs: number },
  place: UpstreamPlace,
  work: (
    from: RemoteUrl,
    remote: Pick<RemotePlace, 'dir' | 'address' | 'keyFile' | 'signal'>,
  ) => Promise<T | Problem>,
): Promise<T | Problem> {
  const from = parseRemoteUrl(url);
  if ('problem' in from) return from;
  if (from.protocol === 'ssh' && sshKey === undefined)
    return { problem: 'ssh needs a key', hint: words.giveKey };
  const found = await publicAddress(from.host, place.allowedInternal);
  if ('problem' in found) return found;

  await mkdir(place.scratch, { recursive: true, mode: 0o700 });
  await mkdir(dirname(place.knownHostsFile), { recursive: true, mode: 0o700 });
  const folder = await mkdtemp(join(place.scratch, 'fetch-'));
  const signal = timeoutSignal(timeLimitMs);
  try {
    const keyFile = sshKey === undefined ? undefined : join(folder, 'key');
    if (keyFile !== undefined) await writeKeyFile(keyFile, sshKey ?? '');
    return await work(from, { dir: join(folder, 'fetched.git'), address: found.address, keyFile, signal });
  } catch (error) {
    if (signal.aborted) return { problem: `it took more than ${timeLimitMs / 60_000} minutes` };
    const [problem, hint] = explainFetch(messageOf(error), from, commit, words);
    return { problem, hint };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
