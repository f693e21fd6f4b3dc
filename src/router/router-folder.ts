import { haproxyPaths } from './haproxy-config.ts';

/** HAProxy binds a unix socket under a longer, temporary name, which leaves this much of the kernel's 107 bytes. */
const longestSocketPath = 97;

/** Throws when HAProxy could not put its sockets into the folder or read its name in a configuration. */
export function requireUsableFolder(dir: string): void {
  const { handoff } = haproxyPaths(dir);
  const longest = longestSocketPath - (handoff.length - dir.length);
  if (dir.length > longest) {
    throw new Error(
      `the router folder ${dir} is too long for unix sockets; use one of at most ${longest} characters`,
    );
  }
  if (!/^\/[A-Za-z0-9/._+@~-]*$/.test(dir)) {
    throw new Error(
      `HAProxy cannot use the router folder ${dir}; use an absolute path of letters, digits and / . _ + @ ~ -`,
    );
  }
}
