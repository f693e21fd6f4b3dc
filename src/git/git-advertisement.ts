import type { ServerResponse } from 'node:http';
import type { Git } from 'node-git-server';
import type { AppName } from '../domain/app.ts';
import { GitRefusal } from './git-refusal.ts';
import { GitReply } from './git-reply.ts';
import type { GitService } from './git-route.ts';
import { requestDouble, responseDouble } from './package-doubles.ts';
import { flushPacket, packet } from './pkt-line.ts';

export type Advertisement = {
  app: AppName;
  service: GitService;
  res: ServerResponse;
  /** The client speaks git's protocol version 2. */
  isVersion2: boolean;
  stallMs: number;
};

/** Answers `info/refs`: which refs there are and what the server can do. Resolves when git has said it all. */
export async function advertise(
  git: Git,
  { app, service, res, isVersion2, stallMs }: Advertisement,
): Promise<void> {
  const request = requestDouble('GET', `/${app}.git/info/refs?service=git-${service}`);
  const response = responseDouble();
  // The package writes this itself, before it knows whether git has anything to say.
  const preamble = Buffer.from(packet(`# service=git-${service}\n`) + flushPacket);
  const reply = new GitReply(res, `application/x-git-${service}-advertisement`, stallMs);

  const hasEnded = new Promise<void>((resolve) => {
    response.stream.on('end', resolve).on('close', resolve);
  });
  let held = Buffer.alloc(0);
  let isProven = false;
  const prove = (chunk: Buffer) => {
    held = Buffer.concat([held, chunk]);
    if (held.length <= preamble.length) return;
    isProven = true;
    response.stream.off('data', prove);
    reply.write(held);
    reply.relay(response.stream);
  };
  response.stream.on('data', prove);

  // The package starts git before handle() returns, and git inherits our environment.
  if (isVersion2) process.env.GIT_PROTOCOL = 'version=2';
  try {
    git.handle(request.asRequest, response.asResponse);
  } finally {
    delete process.env.GIT_PROTOCOL;
  }
  await hasEnded;
  if (!isProven) {
    throw new GitRefusal(500, `the repository of "${app}" cannot be read; the server's log says why`);
  }
  reply.end();
}
