import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { renewBaseImages } from './base-image.ts';

/** The parts a test may need: the engine, the packages, the build of what is tested, and images without a registry. */
export default async function setup(): Promise<void> {
  execFileSync(fileURLToPath(new URL('../../bin/setup', import.meta.url)), ['--test'], { stdio: 'inherit' });
  await renewBaseImages();
}
