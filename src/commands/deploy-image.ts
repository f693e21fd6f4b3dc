import type { z } from 'zod';
import type { acceptedShape } from '../api/contract/deployments.ts';
import { parseImageReference } from '../domain/image-reference.ts';
import { appName, call, oneOf } from './api-client.ts';
import { followDeploy } from './deploy-again.ts';
import { ApiError, UsageError } from './exit-code.ts';
import { readServing, type ServingFlags } from './options.ts';
import { readSecret } from './read-secret.ts';

type Options = ServingFlags & {
  image: string;
  username?: string;
  forgetLogin?: boolean;
  app?: string;
  detach?: boolean;
};

/** The app is made unless there is one, as with a first push. Follows the deployment to its end, as a push does. */
export async function deployImage(given: string | undefined, options: Options): Promise<void> {
  const app = await appName(oneOf(given, options.app));
  const { image, username, forgetLogin } = options;
  const reference = parseImageReference(image);
  if ('problem' in reference) throw new UsageError(reference.problem);
  if (username !== undefined && forgetLogin)
    throw new UsageError('--username is a login to keep, --forget-login forgets one: which of them?');
  const login = username === undefined ? undefined : { username, password: await readPassword(username) };
  const body = {
    kind: 'image',
    image,
    ...readServing(options),
    ...(login && { login }),
    ...(forgetLogin && { login: null }),
  };
  const deploy = () => call<typeof acceptedShape>('POST', `/apps/${app}/deployments`, body);
  const { number } = await deploy().catch(async (error: unknown): Promise<z.infer<typeof acceptedShape>> => {
    if (!(error instanceof ApiError) || error.status !== 404) throw error;
    await call('POST', '/apps', { name: decodeURIComponent(app) });
    return deploy();
  });
  await followDeploy(app, number, options);
}

/** Never an argument: those are for all users of a machine to see. */
export async function readPassword(username: string): Promise<string> {
  const given = process.env.GANTRY_DOCKER_PASSWORD ?? process.env.CF_DOCKER_PASSWORD;
  const password = given ?? (await readSecret(`password of ${username}: `));
  if (password === '')
    throw new UsageError('the password is empty: set GANTRY_DOCKER_PASSWORD, or give it on standard input');
  return password;
}
