import { randomUUID } from 'node:crypto';
import type { AppName } from '../../src/domain/app.ts';
import type { DeploymentStore } from '../../src/store/deployment-store.ts';
import type { LeaseStore } from '../../src/store/lease-store.ts';

/** What a push of a commit asks for; its sha is forty times the letter. */
export function askFor(
  store: DeploymentStore,
  app: AppName,
  letter: string,
  requestId: string = randomUUID(),
) {
  return store.request({
    app,
    requestId,
    trigger: 'push',
    commit: letter.repeat(40) as never,
    pull: undefined,
    subject: 'subject',
    branch: 'main',
    oldSha: '0'.repeat(40),
    by: 'ana',
    noCache: false,
    image: undefined,
  });
}

/** The fence of who has the app now. */
export async function own(leases: LeaseStore, app: AppName): Promise<number> {
  const lease = await leases.acquire(app, randomUUID(), 10_000);
  if (!('fence' in lease)) throw new Error('busy');
  return lease.fence;
}
