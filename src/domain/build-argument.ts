const login = new Set(['CC_DOCKER_LOGIN_USERNAME', 'CC_DOCKER_LOGIN_PASSWORD']);

/** The app's login at its registry. A build argument would write it into the history of the image. */
export function isRegistryLogin(name: string): boolean {
  return login.has(name);
}

/** Variables that never become build arguments: BUILDKIT_SYNTAX and its like would steer the builder itself. */
export function isKeptFromBuilds(name: string): boolean {
  return name.startsWith('BUILDKIT_') || isRegistryLogin(name);
}

/** BuildKit's own rule for names that look like secrets (its lint `SecretsUsedInArgOrEnv`). */
export function looksSecret(name: string): boolean {
  const word = (words: string): RegExp => new RegExp(`(?:_|^)(?:${words})(?:_|$)`, 'i');
  return (
    word('apikey|auth|credentials?|key|password|pword|passwd|secret|token').test(name) &&
    !word('public').test(name)
  );
}
