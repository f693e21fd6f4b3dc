import type { AppName } from './app.ts';

export type Protocol = 'tcp' | 'udp';

/** Ports from the first to the last, both included. */
export type PortRule = { protocol: Protocol; port: number; endPort: number };

/** The containers of one app may reach those of another on some ports, and only at its internal host names. */
export type NetworkPolicy = PortRule & { source: AppName; destination: AppName };

/** As in Cloud Foundry. */
export const defaultPort = 8080;

/** Each of them is listened on. */
const mostPorts = 1000;

/** `8080` or `8080-8090`, or what is wrong with it. */
export function parsePorts(text: string): { port: number; endPort: number } | { problem: string } {
  const match = /^(\d{1,5})(?:-(\d{1,5}))?$/.exec(text);
  if (!match) return { problem: 'ports are a number as 8080, or a range as 8080-8090' };
  const port = Number(match[1]);
  const endPort = Number(match[2] ?? port);
  if (port < 1 || endPort > 65_535) return { problem: 'ports are between 1 and 65535' };
  if (endPort < port) return { problem: 'a range of ports begins with its smallest' };
  if (endPort - port >= mostPorts) return { problem: `a range has at most ${mostPorts} ports` };
  return { port, endPort };
}

export function portsText({ port, endPort }: Pick<PortRule, 'port' | 'endPort'>): string {
  return port === endPort ? String(port) : `${port}-${endPort}`;
}
