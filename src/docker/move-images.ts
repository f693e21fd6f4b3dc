import type { Readable } from 'node:stream';
import type { EngineClient } from './engine-client.ts';
import { refusalOf } from './engine-refusal.ts';
import { readMessages } from './ndjson.ts';

/** The images with these names as an archive. Whoever has it destroys it. */
export async function saveImages(
  client: EngineClient,
  names: readonly string[],
  signal: AbortSignal,
): Promise<Readable> {
  const query = new URLSearchParams(names.map((name): [string, string] => ['names', name]));
  // docker-modem cannot say one thing twice in a query, and cuts the last character of a path without one.
  return client.dial('saving images', { method: 'GET', path: `/images/get?${query.toString()}&`, signal });
}

/** Throws with the engine's words for what is no archive. */
export async function loadImages(
  client: EngineClient,
  archive: Readable,
  signal: AbortSignal,
): Promise<void> {
  let broken: unknown;
  archive.on('error', (error) => {
    broken ??= error;
  });
  try {
    const answer = await client.dial('loading images', {
      method: 'POST',
      path: '/images/load?',
      query: { quiet: '1' },
      headers: { 'Content-Type': 'application/x-tar' },
      body: archive,
      signal,
    });
    for await (const message of readMessages(answer))
      if (typeof message.error === 'string') throw new Error(message.error);
  } catch (error) {
    if (broken !== undefined) throw broken;
    const refusal = refusalOf(error);
    throw refusal ? new Error(refusal.message) : client.explained(error, 'loading images');
  } finally {
    archive.unpipe();
    archive.destroy();
  }
}
