import type { z } from 'zod';
import type { envShape } from '../api/contract/apps.ts';
import { envChanges, showEnvChanges } from '../domain/env-changes.ts';
import { formatExpert, parseEnvImport } from '../domain/env-import.ts';
import { safeText } from '../domain/safe-text.ts';
import { messageOf } from '../errors.ts';
import { appName, ask, findServer } from './api-client.ts';
import { EditedText } from './edit-text.ts';
import { ApiError, UsageError } from './exit-code.ts';

type Env = Record<string, string>;

/** To `parseEnvImport` it is a comment. */
const heading = (app: string): string =>
  `# Variables of ${app}: NAME="value", a value may span lines. What is deleted here is unset.\n`;

/**
 * All variables in an editor. What cannot be used is shown again with the reason; a text that is not sent, whatever the
 * cause, is kept and its place told.
 */
export async function editEnv(options: { app?: string }): Promise<void> {
  const app = await appName(options.app);
  const name = decodeURIComponent(app);
  const server = await findServer();
  const response = await ask(server, 'GET', `/apps/${app}/env`);
  const { env } = (await response.json()) as z.infer<typeof envShape>;
  const etag = response.headers.get('etag') ?? '*';
  const shown = heading(name) + formatExpert(env);
  // A value may have line ends that no editor keeps; only what differs from what was shown was changed.
  const before = read(shown);

  using file = await EditedText.create(`${name}.env`);
  let text = await file.edit(shown);
  for (;;) {
    let problem: string;
    try {
      const changes = envChanges(before, read(text));
      const what = showEnvChanges(changes);
      if (what === '') return console.error('nothing to change');
      await send(read(text));
      return console.error(
        `${safeText(what, 2000)}; in force with the next deployment: gantry restart, or gantry redeploy if the build needs it`,
      );
    } catch (error) {
      if (!isAboutText(error)) throw kept(error);
      problem = messageOf(error);
    }
    const explained = withProblem(text, problem);
    const next = await file.edit(explained).catch((error: unknown) => {
      throw kept(error);
    });
    if (next === explained) throw kept(new UsageError(`nothing was changed: ${problem}`));
    text = next;
  }

  async function send(after: Env): Promise<void> {
    const { added, changed, removed } = envChanges(before, after);
    const set = [...added, ...changed].map((key) => [key, after[key]] as const);
    const body = { env: Object.fromEntries([...set, ...removed.map((key) => [key, null] as const)]) };
    await ask(server, 'PATCH', `/apps/${app}/env`, { body, headers: { 'if-match': etag } });
  }

  function kept(error: unknown): ApiError {
    file.keep();
    const status = error instanceof ApiError ? error.status : 400;
    const hint =
      status === 412
        ? `compare it with gantry env list --app ${name} --expert, then: gantry env import ${file.path} --app ${name}`
        : `gantry env import --replace ${file.path} --app ${name}`;
    return new ApiError(status, `${messageOf(error)}; your text is in ${file.path}`, hint);
  }
}

function read(text: string): Env {
  const parsed = parseEnvImport(text);
  if ('problems' in parsed) throw new UsageError(parsed.problems.join('; '));
  return parsed.env;
}

function isAboutText(error: unknown): boolean {
  return error instanceof UsageError || (error instanceof ApiError && [400, 422].includes(error.status));
}

/** In place of the comment at the top, so that the numbers of lines in it are right. */
function withProblem(text: string, problem: string): string {
  const rest = text.startsWith('#') ? text.slice(text.indexOf('\n') + 1) : text;
  return `# ! ${safeText(problem, 1000)}\n${rest}`;
}
