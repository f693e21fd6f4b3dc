import { spawn } from 'node:child_process';
import { once } from 'node:events';

/**
 * Whatever a process, and what it starts from now on, wants to have on the disk, the disk says that it cannot; until the
 * answer is disposed.
 */
export async function failSyncs(pid: number): Promise<AsyncDisposable> {
  const calls = 'fsync,fdatasync';
  const args = ['-f', '-o', '/dev/null', '-e', `trace=${calls}`, '-e', `inject=${calls}:error=EIO`];
  const strace = spawn('strace', [...args, '-p', String(pid)], { stdio: ['ignore', 'ignore', 'pipe'] });
  const exited = once(strace, 'exit');
  let said = '';
  await new Promise<void>((resolve, reject) => {
    strace.on('error', reject);
    strace.on('exit', () => reject(new Error(said)));
    strace.stderr.on('data', (text: Buffer) => {
      said += String(text);
      if (said.includes('attached')) resolve();
    });
  });
  return {
    [Symbol.asyncDispose]: async () => {
      strace.kill('SIGTERM'); // lets go of all, which then go on
      await exited;
    },
  };
}
