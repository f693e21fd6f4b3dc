import { z } from 'zod';
import { defaultPort } from '../../domain/network-policy.ts';

export const tcpShape = z.object({ app: z.string(), port: z.number() });

export const tcpListShape = z.object({ tcp: z.array(tcpShape) });

export const domainShape = z.strictObject({ domain: z.string().max(400) });

/** Where the containers of one app may reach those of another: at its internal host names. */
export const networkPolicyShape = z.object({
  source: z.string(),
  destination: z.string(),
  protocol: z.enum(['tcp', 'udp']),
  port: z.int(),
  endPort: z.int(),
});

export const networkPoliciesShape = z.object({ policies: z.array(networkPolicyShape) });

/** `ports`: one as `8080`, or a range as `8080-8090`. */
export const networkPolicyChangeShape = z.strictObject({
  destination: z.string().max(100),
  protocol: z.enum(['tcp', 'udp']).default('tcp'),
  ports: z.string().max(11).default(String(defaultPort)),
});

/** The host name by the app's own name first. */
export const domainsShape = z.object({ domains: z.array(z.string()) });
