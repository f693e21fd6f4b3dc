import { FrameDecoder, type OutputFrame, RecordLines } from './container-output.ts';
import type { EngineClient } from './engine-client.ts';

/** Of what was printed last, how much is looked at again; it is compared with a little more. */
const lookedAtAgain = 100;
const remembered = 1000;

/**
 * Hands over what a container printed and prints, from its first line until it stops. The engine closes a log that is followed
 * before it has written a last line without a line break (seen with 20.10, in one of ten quick commands), so the end of the
 * log is read once more.
 */
export async function followOutput(
  client: EngineClient,
  container: string,
  report: (lines: string[]) => Promise<void>,
  signal: AbortSignal,
): Promise<void> {
  const records = new RecordLines();
  const seen: string[] = [];
  for await (const frames of readLog(client, container, { follow: '1' }, signal)) {
    for (const { key } of frames) seen.push(key);
    if (seen.length > 2 * remembered) seen.splice(0, seen.length - remembered);
    const lines = frames.flatMap((frame) => records.take(frame));
    if (lines.length > 0) await report(lines);
  }
  const rest: string[] = [];
  try {
    for await (const frames of readLog(client, container, { tail: String(lookedAtAgain) }, signal)) {
      for (const frame of frames) {
        const at = seen.lastIndexOf(frame.key);
        if (at < 0) rest.push(...records.take(frame));
        else seen.splice(at, 1);
      }
    }
  } catch {
    // It may have been removed by now.
    signal.throwIfAborted();
  }
  rest.push(...records.end());
  if (rest.length > 0) await report(rest);
}

export type Stamped = OutputFrame & {
  /** RFC 3339 with nine digits of a second. */
  at: string;
  /** Tells a record from others: its time and stream. */
  key: string;
};

export async function* readLog(
  client: EngineClient,
  container: string,
  which: Record<string, string>,
  signal: AbortSignal,
): AsyncGenerator<Stamped[]> {
  const answer = await client.dial('reading the output of a container', {
    method: 'GET',
    path: `/containers/${container}/logs?`,
    query: { ...which, stdout: '1', stderr: '1', timestamps: '1' },
    signal,
  });
  const decoder = new FrameDecoder();
  try {
    for await (const chunk of answer) yield decoder.push(chunk as Buffer).map(stamped);
  } catch (error) {
    signal.throwIfAborted();
    throw client.explained(error, 'reading the output of a container');
  } finally {
    answer.destroy();
  }
}

/** The engine puts the time and a space in front of every record. */
function stamped({ stream, bytes }: OutputFrame): Stamped {
  const end = bytes.indexOf(' ');
  const at = bytes.toString('latin1', 0, end);
  return { stream, bytes: bytes.subarray(end + 1), at, key: `${stream} ${at}` };
}
