import type { IncomingMessage } from 'node:http';
import type { Readable } from 'node:stream';
import { createGunzip } from 'node:zlib';
import { GitRefusal } from './git-refusal.ts';
import type { GitService } from './git-route.ts';

/** The body of a git POST, unpacked. Its `error` event means the client sent something that is not what it said. */
export function gitBody(req: IncomingMessage, service: GitService): Readable {
  if (req.headers['content-type'] !== `application/x-git-${service}-request`) {
    throw new GitRefusal(415, `the content type must be application/x-git-${service}-request`);
  }
  if (req.headers['content-length'] === '0') throw new GitRefusal(400, 'the request is empty');
  switch (req.headers['content-encoding'] ?? 'identity') {
    case 'identity':
      return req;
    // Real clients do this: fetches that name many commits, and pushes of JGit.
    case 'gzip':
    case 'x-gzip':
      return req.pipe(createGunzip());
    default:
      throw new GitRefusal(415, 'the content encoding must be gzip or none');
  }
}
