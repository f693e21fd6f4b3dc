import type { AppName } from './app.ts';

/** A container as the router sees it. `address` is an IP address the router can dial. */
export type Endpoint = {
  container: string;
  address: string;
  port: number;
  /** Where it listens for raw TCP, should the app have that. */
  tcpPort?: number;
  release: number;
  /** While it drains: nothing of the public router, or of the gates of internal routes, is open to it. */
  isLetGoByRouter?: boolean;
  isLetGoByGates?: boolean;
};

/**
 * What should answer for an app's host names. `version` grows with every change of the route, so that
 * "the router has applied version 7" is a fact that can be waited for.
 */
export type Route = {
  app: AppName;
  version: number;
  /** Host names, and parts of some as `shop.example.com/api`. */
  hosts: readonly string[];
  /** The public port whose connections go to `tcpPort` of the endpoints. */
  tcpPort?: number;
  /** New requests go here; none means the 503 page. */
  live: readonly Endpoint[];
  /** Gets no new requests, finishes what it has. */
  draining: readonly Endpoint[];
  /** Nobody is behind it because somebody wanted it so. */
  stopped?: boolean;
};
