import { execFile } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { Readable } from 'node:stream';
import { promisify } from 'node:util';
import Docker from 'dockerode';
import { type Pack, pack } from 'tar-stream';

/** No registry can be reached from the test machines, so the images that test apps start FROM are made here. */
export const baseImage = 'gantry-test/base:1';
export const nodeImage = 'gantry-test/node:1';

/**
 * Part of every base image of this process: without it the engine's cache would answer builds with the results of an
 * earlier run of the tests, and what they print would not be printed.
 */
const testRun = randomUUID();

const busyboxPath = '/bin/busybox';

/** Makes both base images anew. The old ones go after that: tests of another checkout may be using the names. */
export async function renewBaseImages(docker: Docker = localDocker()): Promise<void> {
  for (const [tag, fill] of [
    [baseImage, addBusybox],
    [nodeImage, addNode],
  ] as const) {
    const old = await imageId(docker, tag);
    await importImage(docker, tag, fill);
    if (old === undefined) continue;
    await docker
      .getImage(old)
      .remove()
      .catch(() => {}); // somebody still uses it
  }
}

/** busybox with all its commands: sh, sleep, httpd, nc, wget, env… Made in about 0.1 s. */
export async function ensureBaseImage(docker: Docker = localDocker()): Promise<string> {
  return await ensureImage(docker, baseImage, addBusybox);
}

export function localDocker(): Docker {
  return new Docker({ socketPath: '/var/run/docker.sock', host: undefined, protocol: 'http' });
}

/** An image of what `fill` puts into it, made unless there is one of this name. */
export async function ensureImage(
  docker: Docker,
  tag: string,
  fill: (tar: Pack) => Promise<void>,
  changes: readonly string[] = [],
): Promise<string> {
  if ((await imageId(docker, tag)) === undefined) await importImage(docker, tag, fill, changes);
  return tag;
}

async function imageId(docker: Docker, tag: string): Promise<string | undefined> {
  return docker
    .getImage(tag)
    .inspect()
    .then(
      ({ Id }) => Id,
      () => undefined,
    );
}

async function importImage(
  docker: Docker,
  tag: string,
  fill: (tar: Pack) => Promise<void>,
  changes: readonly string[] = [],
): Promise<void> {
  const tar = pack();
  const filled = fill(tar).then(
    () => tar.finalize(),
    (error: unknown) => tar.destroy(error instanceof Error ? error : new Error(String(error))),
  );
  const [repo, version] = tag.split(':');
  const always = ['ENV PATH=/usr/local/bin:/bin', 'LABEL gantry.test-base=1'];
  const [answer] = await Promise.all([
    docker.importImage(Readable.from(tar, { objectMode: false }), {
      repo,
      tag: version,
      changes: [...always, ...changes],
    }),
    filled,
  ]);
  let said = '';
  for await (const chunk of answer) said += String(chunk);
  if (said.includes('"error"')) throw new Error(`could not import ${tag}: ${said}`);
}

export async function addBusybox(tar: Pack): Promise<void> {
  const { stdout } = await promisify(execFile)(busyboxPath, ['--list']);
  for (const folder of ['bin', 'etc', 'www', 'root', 'proc', 'sys', 'dev']) {
    tar.entry({ name: folder, type: 'directory', mode: 0o755 });
  }
  tar.entry({ name: 'tmp', type: 'directory', mode: 0o1777 });
  await addFile(tar, 'bin/busybox', await readFile(busyboxPath), 0o755);
  for (const command of stdout.split('\n')) {
    if (command === '' || command === 'busybox') continue;
    tar.entry({ name: `bin/${command}`, type: 'symlink', linkname: 'busybox' });
  }
  await addFile(
    tar,
    'etc/passwd',
    'root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/tmp:/bin/sh\n',
  );
  await addFile(tar, 'etc/test-run', testRun);
  await addFile(tar, 'etc/group', 'root:x:0:\nnogroup:x:65534:\n');
}

/** The same with the `node` of this machine and the libraries it is linked to. Takes about a second. */
async function addNode(tar: Pack): Promise<void> {
  await addBusybox(tar);
  await addFile(tar, 'usr/local/bin/node', await readFile(process.execPath), 0o755);
  for (const library of await linkedLibraries(process.execPath)) {
    await addFile(tar, library.slice(1), await readFile(library), 0o755);
  }
}

export async function addFile(
  tar: Pack,
  name: string,
  content: Buffer | string,
  mode = 0o644,
): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    tar.entry({ name, mode }, content, (error) => (error ? reject(error) : resolve()));
  });
}

/** Paths as the loader will look for them; a link such as /lib64 is no problem, since only names count. */
export async function linkedLibraries(binary: string): Promise<string[]> {
  const { stdout } = await promisify(execFile)('ldd', [binary]);
  const paths = [...stdout.matchAll(/(?:=> )?(\/\S+) \(0x/g)].map((match) => match[1] ?? '');
  return [...new Set(paths)];
}
