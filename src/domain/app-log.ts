/** How far the output of one container was read. Times are the engine's, RFC 3339 with nine digits, so they sort as text. */
type OutputPosition = { at: string /** Records of that very time. */; records: number };

export type OutputPositions = { stdout?: OutputPosition; stderr?: OutputPosition };

/** One line that a container printed, or, as `notice`, one that says how many are missing there. */
export type AppLogLine = {
  at: string;
  container: string;
  release: number;
  instance: number;
  stream: 'stdout' | 'stderr';
  text: string;
  notice?: boolean;
  /** Of the engine's records with this time it ends the so-manieth. */
  records: number;
};
