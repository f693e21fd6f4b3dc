/**
 * The port an image is to be reached at, of those it exposes (`80/tcp`): the lowest for TCP, as on Cloud Foundry.
 * `none`: it exposes nothing; `only udp`: nothing that could be routed to.
 */
export function portOfImage(exposed: readonly string[]): number | 'none' | 'only udp' {
  const ports = exposed.flatMap((text) => {
    const [, port, protocol = 'tcp'] = /^(\d{1,5})(?:\/(\w+))?$/.exec(text) ?? [];
    return port === undefined ? [] : [{ port: Number(port), isTcp: protocol === 'tcp' }];
  });
  if (ports.length === 0) return 'none';
  const tcp = ports.filter(({ isTcp }) => isTcp).map(({ port }) => port);
  return tcp.length === 0 ? 'only udp' : Math.min(...tcp);
}
