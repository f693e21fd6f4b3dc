import { basename } from 'node:path';
import { problemWithAppName } from '../domain/app.ts';
import { ask, findServer } from './api-client.ts';
import { ApiError, UsageError } from './exit-code.ts';
import { git, remoteUrl, useAsCredentialHelper } from './git-settings.ts';

/** Adds the git remote that deploys, and lets git find the token by itself. */
export async function link(given: string | undefined, options: { force?: boolean }): Promise<void> {
  const top = await git('rev-parse', '--show-toplevel');
  if (top === undefined) throw new UsageError('this is no git repository: go to your app, or git init');
  const app = given ?? process.env.GANTRY_APP ?? basename(top);
  const problem = problemWithAppName(app);
  if (problem) throw new UsageError(`"${app}" cannot be an app: ${problem}`);

  const server = await findServer();
  await ask(server, 'GET', '/whoami');
  const wanted = `${server.url}/${app}.git`;
  const before = await remoteUrl();
  if (before !== undefined && before !== wanted && !options.force)
    throw new ApiError(
      409,
      'the git remote "clever" leads elsewhere already',
      'gantry link --force replaces it',
    );
  if (before === undefined) await git('remote', 'add', 'clever', wanted);
  else await git('remote', 'set-url', 'clever', wanted);
  await useAsCredentialHelper(server.url, '--local');

  const isThere = await ask(server, 'GET', `/apps/${app}/options`).then(
    () => true,
    () => false,
  );
  console.error(`${top} is linked to ${wanted}${isThere ? '' : ', which the first push creates'}`);
  console.error('hint: git push clever main');
}
