import { readFileSync } from 'node:fs';
import { serverProcesses, startGitRig } from './git-rig.ts';

// A server in a process of its own, whose memory and limits can be looked at and changed without those of the test.

const rig = await startGitRig();
process.send?.({ port: rig.port });
process.on('message', () => {
  const status = readFileSync('/proc/self/status', 'utf8');
  const peak = Number(/VmHWM:\s+(\d+) kB/.exec(status)?.[1]) * 1024;
  process.send?.({
    peak,
    rss: process.memoryUsage().rss,
    processes: serverProcesses().length,
    received: rig.received.length,
  });
});
process.on('disconnect', () => {
  void rig[Symbol.asyncDispose]().finally(() => process.exit());
});
