import { createServer } from 'node:net';

/**
 * Binds the port for a moment. HAProxy itself cannot be asked: `haproxy -c` does not look, two HAProxys may share a port
 * without noticing, and a bind that fails in a reload stops all traffic for two seconds.
 */
export async function probePort(
  address: string,
  port: number,
  setting: 'GANTRY_PORT' | 'GANTRY_HTTP_PORT' = 'GANTRY_HTTP_PORT',
): Promise<void> {
  const code = await tryToBind(address, port);
  if (code === undefined) return;
  const place = address === '*' || address === '::' ? `port ${port}` : `${address} port ${port}`;
  if (code === 'EADDRINUSE') {
    throw new Error(
      `${place} is taken by another program; stop it (ss -ltnp 'sport = :${port}' shows it) or set ${setting} to another one`,
    );
  }
  if (code === 'EACCES') {
    throw new Error(
      `${place} may not be used by this user; set ${setting} to 1024 or more, or allow it: sysctl net.ipv4.ip_unprivileged_port_start=${port}`,
    );
  }
  throw new Error(
    `${place} cannot be used (${code}); set ${setting} to another one, or the address it is bound to`,
  );
}

/** Whether nobody listens there. */
export async function isPortFree(address: string, port: number): Promise<boolean> {
  return (await tryToBind(address, port)) === undefined;
}

/** Every address this machine can have: both kinds where the kernel has IPv6, else IPv4. */
export async function anyAddress(): Promise<'::' | '*'> {
  return (await tryToBind('::', 0)) === undefined ? '::' : '*';
}

function tryToBind(address: string, port: number): Promise<string | undefined> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message));
    server.listen({ host: address === '*' ? '0.0.0.0' : address, port, exclusive: true }, () => {
      server.close(() => resolve(undefined));
    });
  });
}
