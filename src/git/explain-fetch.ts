import type { CommitSha } from '../domain/app.ts';
import type { RemoteUrl } from '../domain/remote-url.ts';

/** Where people set what a fetch needs, for what they are told to do. */
export type FetchWords = {
  /** What the private key for ssh is called. */
  key: string;
  /** How to give it. */
  giveKey: string;
  /** Where its URL is written. */
  url: string;
  /** How to send a commit there. */
  push: string;
};

/** What git and ssh say, as a reason and what to do. */
export function explainFetch(
  said: string,
  { protocol, host }: RemoteUrl,
  commit: CommitSha | undefined,
  words: FetchWords,
): [string, string?] {
  const is = (pattern: RegExp): boolean => pattern.test(said);
  if (commit && is(/not our ref|unadvertised object|remote ref/i))
    return [`it has no commit ${commit.slice(0, 7)}`, `was it pushed?  ${words.push}`];
  if (is(/could not read Username|Authentication failed|error: 40[13]/i))
    return ['it is private, or not there', `use its ssh URL, and ${words.giveKey}`];
  if (is(/error: 404|not found/i)) return ['it is not there, or private'];
  if (is(/error: 30\d|redirect/i))
    return [
      'the server redirects to another URL, which is not followed',
      `write that URL into ${words.url} (often .git is missing at its end)`,
    ];
  if (is(/certificate|SSL/i))
    return [
      `the certificate of ${host} is not trusted here`,
      'an administrator names the authority with GANTRY_GIT_CA_FILE on the server',
    ];
  if (is(/Permission denied \(|Load key|invalid format/i)) return [`the server does not take ${words.key}`];
  if (is(/HOST IDENTIFICATION HAS CHANGED|Host key verification failed/i))
    return [
      `the ssh server ${host} has another host key than before`,
      'if that is right, an administrator removes the known-hosts file of the app',
    ];
  if (protocol === 'ssh' && is(/ssh: not found/i))
    return ['ssh is not installed on the server', 'apt-get install openssh-client'];
  const line =
    said.split('\n').find((text) => /^(fatal|error|ssh):?/i.test(text)) ?? said.split('\n')[0] ?? '';
  return [line.replace(/https?:\/\/\S+/g, 'it').slice(0, 200)];
}
