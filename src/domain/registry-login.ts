/** Who an app is to the registry that holds its private base images. */
export type RegistryLogin = {
  /** As `parseRegistryHost` returns it. */
  host: string;
  username: string;
  password: string;
};

export const dockerHub = 'docker.io';

/** How images, the engine and `docker login` call Docker Hub. */
const namesOfDockerHub = new Set([
  dockerHub,
  'index.docker.io',
  'registry-1.docker.io',
  'https://index.docker.io/v1/',
]);

/** `host` or `host:port`, as in front of an image's name. `undefined` for all else: no scheme, no path, no user. */
export function parseRegistryHost(text: string): string | undefined {
  const host = text.toLowerCase();
  if (namesOfDockerHub.has(host)) return dockerHub;
  const label = '[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?';
  const match = new RegExp(`^(?=.{1,255}$)${label}(?:\\.${label})*(?::([0-9]{1,5}))?$`).exec(host);
  if (match === null) return undefined;
  const port = Number(match[1] ?? 443);
  return port >= 1 && port <= 65535 ? host : undefined;
}

/** Whether a registry that asks for credentials is the one they are for. */
export function isFor(login: RegistryLogin, asking: string): boolean {
  return parseRegistryHost(asking) === login.host;
}
