/** `512 MiB`, `1.0 GiB`, `64 GiB`: for people. */
export function showBytes(bytes: number): string {
  const gibibytes = bytes / 1024 ** 3;
  if (gibibytes >= 10) return `${Math.floor(gibibytes)} GiB`;
  return gibibytes >= 1 ? `${gibibytes.toFixed(1)} GiB` : `${Math.floor(bytes / 1024 ** 2)} MiB`;
}
