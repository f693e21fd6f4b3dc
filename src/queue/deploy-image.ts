import { randomUUID } from 'node:crypto';
import type { AppName } from '../domain/app.ts';
import { type ImageReference, showImage } from '../domain/image-reference.ts';
import { noCommit } from '../domain/source.ts';
import type { DeploymentRequest, DeploymentStore } from '../store/deployment-store.ts';
import type { DeployQueue } from './deploy-queue.ts';

export type DeployImageDeps = { deployments: DeploymentStore; queue: DeployQueue };

/** Asks for an image of a registry to be made live. Returns the number of the deployment. */
export function deployImage(
  deps: DeployImageDeps,
): (app: AppName, reference: ImageReference, by: string) => Promise<number> {
  return async (app, reference, by) => {
    return requestImage(deps, {
      app,
      requestId: randomUUID(),
      trigger: 'image',
      commit: noCommit,
      pull: { reference: showImage(reference), digest: reference.digest },
      subject: '',
      branch: '',
      oldSha: '',
      by,
      noCache: false,
      image: undefined,
    });
  };
}

/** The same for somebody who knows more about it. */
export async function requestImage(
  { deployments, queue }: DeployImageDeps,
  request: DeploymentRequest,
): Promise<number> {
  const { number } = await deployments.request(request);
  await queue.wake(request.app);
  return number;
}
