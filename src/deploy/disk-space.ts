import { showBytes } from '../domain/bytes.ts';
import type { Problem } from '../domain/deployment.ts';
import { messageOf } from '../errors.ts';
import type { Attempt } from './attempt.ts';

/** Longer than this nobody is kept waiting for what is freed; it goes on, and the next deployment tells of it. */
const watchMs = 1000;

/** A disk so full that the build might take down what runs on it. Known before anything is done. */
export async function problemWithDisk({ deployment, tools }: Attempt): Promise<Problem | undefined> {
  const floor = tools.limits.diskFloorBytes;
  if (deployment.image !== undefined || floor === 0) return undefined;
  const short = (await tools.freeSpace()).filter(({ bytes }) => bytes < floor);
  const [worst] = [...short].sort((a, b) => a.bytes - b.bytes);
  if (!worst) return undefined;
  return {
    reason: `the disk of the server is nearly full: ${showBytes(worst.bytes)} free, ${showBytes(floor)} needed`,
    details: short.map(({ folder, of, bytes }) => `${folder} (${of}): ${showBytes(bytes)} free`),
    hints: [
      'on the server:  docker system prune  frees what no container uses  (or lower GANTRY_DISK_FLOOR)',
    ],
  };
}

/** What is freed while a deployment goes on, which has it in its log. Nothing of it can make the deployment fail. */
export type Freeing = {
  /** The new release serves: images of releases past the kept ones go, and the log says what went. */
  tell: () => Promise<void>;
};

/** Begins with the build cache. Not before the switch: it keeps the engine too busy to start containers quickly. */
export function beginFreeing({ deployment, tools, log }: Attempt): Freeing {
  const complaints: string[] = [];
  const complain = (error: unknown): void => {
    complaints.push(messageOf(error));
  };
  const cache = deployment.image === undefined ? tools.trimBuildCache().catch(complain) : undefined;
  return {
    tell: async () => {
      let releases: readonly number[] = [];
      const images = async (): Promise<void> => {
        releases = await tools.freeImages(deployment.app);
      };
      await atMost(watchMs, Promise.all([images().catch(complain), cache]));
      const bytes = tools.takeTrimmedBytes();
      const parts = [
        ...(releases.length > 0
          ? [`the ${releases.length > 1 ? 'images' : 'image'} of ${listed(releases)}`]
          : []),
        ...(bytes > 0 ? [`${showBytes(bytes)} of build cache`] : []),
      ];
      if (parts.length > 0) await log.detail(`freed ${parts.join(' and ')}`);
      for (const complaint of complaints) await log.warning(`could not free space: ${complaint}`);
    },
  };
}

function listed(releases: readonly number[]): string {
  const names = releases.map((number) => `v${number}`);
  return names.length > 5 ? `${names.length} releases` : names.join(', ');
}

async function atMost(ms: number, work: Promise<unknown>): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, ms);
  });
  try {
    await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}
