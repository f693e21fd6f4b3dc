import { lookup } from 'node:dns/promises';
import { type BlockList, isIP } from 'node:net';
import { isInRanges, isInternalAddress } from '../domain/internal-address.ts';
import { messageOf } from '../errors.ts';

/** Every address a name stands for has to be public; which one the server's name server gives later is not asked again. */
export async function publicAddress(
  host: string,
  allowedInternal: BlockList,
): Promise<{ address: string } | { problem: string; hint?: string }> {
  const found = isIP(host)
    ? [{ address: host }]
    : await lookup(host, { all: true, verbatim: false }).catch((error: unknown) => messageOf(error));
  if (typeof found === 'string') return { problem: `the host ${host} was not found` };
  const inside = found.find(
    ({ address }) => isInternalAddress(address) && !isInRanges(address, allowedInternal),
  );
  if (inside) {
    return {
      problem: `${host} is ${inside.address === host ? '' : `${inside.address}, `}an address of an internal network`,
      hint: 'an administrator allows it with GANTRY_ALLOW_INTERNAL_ADDRESSES on the server',
    };
  }
  const [first] = found;
  return first ? { address: first.address } : { problem: `the host ${host} was not found` };
}
