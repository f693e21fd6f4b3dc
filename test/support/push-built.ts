import type Docker from 'dockerode';
import { pack } from 'tar-stream';
import { addFile } from './base-image.ts';
import type { TestFiles } from './git.ts';

/** Builds files into an image and pushes it to a registry, as a CI does; the engine knows nothing of it afterwards. */
export async function pushBuilt(docker: Docker, reference: string, files: TestFiles): Promise<void> {
  const tar = pack();
  for (const [name, file] of Object.entries(files)) {
    if (typeof file === 'string') await addFile(tar, name, file);
    else if (typeof file === 'object' && 'content' in file) await addFile(tar, name, file.content, 0o755);
  }
  tar.finalize();
  await finished(await docker.buildImage(tar as unknown as NodeJS.ReadableStream, { t: reference }));
  await finished(
    await docker.getImage(reference).push({ authconfig: { username: '', password: '', serveraddress: '' } }),
  );
  await docker.getImage(reference).remove();
}

async function finished(answer: NodeJS.ReadableStream): Promise<void> {
  let said = '';
  for await (const chunk of answer) said += String(chunk);
  if (said.includes('"error"')) throw new Error(said.slice(-1000));
}
