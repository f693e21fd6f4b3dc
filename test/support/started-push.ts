import { resultOf } from './git.ts';
import { type appRepository, until } from './rig.ts';

export type StartedPush = ReturnType<typeof startPush>;

/** A push that something is done to while it goes on. */
export function startPush(repo: Awaited<ReturnType<typeof appRepository>>, url: string) {
  const child = repo.startPush(url);
  let output = '';
  child.stderr?.on('data', (chunk: Buffer) => {
    output += chunk.toString();
  });
  return {
    result: resultOf(child),
    says: (text: string, times = 1) =>
      until(`the push says ${text}`, () => output.split(text).length > times),
  };
}
