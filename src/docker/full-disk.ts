/** What a person is told when that is why the engine failed, in whichever of its many words; `undefined` when it is not. */
export function explainFullDisk(message: string): string | undefined {
  return /no space left on device|disk quota exceeded/i.test(message)
    ? 'the disk of the Docker engine is full; free space there: docker system prune'
    : undefined;
}
