import type { Problem } from '../domain/deployment.ts';
import type { RegistryLogin } from '../domain/registry-login.ts';
import { safeText } from '../domain/safe-text.ts';
import type { Attempt } from './attempt.ts';
import { timed } from './timed.ts';

/**
 * Logs in to the registry of the app's private base images. As on Clever Cloud the build goes on without a login that
 * fails, unless the app wants it strict.
 */
export async function logInToRegistry(
  attempt: Attempt,
): Promise<{ credentials: RegistryLogin | undefined } | { problem: Problem }> {
  const { settings, log, tools, signal } = attempt;
  if (!settings.registry) return { credentials: undefined };
  const { host, username = '', password = '', isStrict } = settings.registry;

  await log.heading('Registry login');
  const login = { host, username, password };
  attempt.guard();
  const result = await timed(attempt, 'registry login', tryLogin);
  if (result.ok) {
    await log.detail(`logged in to ${host} as ${safeText(username)}`);
    return { credentials: login };
  }
  const reason = safeText(`could not log in to ${host}: ${result.reason}`, 150);
  if (isStrict) {
    return {
      problem: { reason, hints: ['without GANTRY_STRICT_LOGIN the build would go on without a login'] },
    };
  }
  await log.warning(`${reason}; the build goes on without a login`);
  return { credentials: undefined };

  async function tryLogin(): Promise<{ ok: true } | { ok: false; reason: string }> {
    if (username === '') return { ok: false, reason: 'CC_DOCKER_LOGIN_USERNAME is not set' };
    if (password === '') return { ok: false, reason: 'CC_DOCKER_LOGIN_PASSWORD is not set' };
    return await tools.engine.checkLogin(login, signal);
  }
}
