/** The image named by `# syntax=` at the top of a Dockerfile, which BuildKit pulls to read the rest. */
export function syntaxImage(dockerfile: string): string | undefined {
  for (const line of dockerfile.replace(/^\uFEFF/, '').split(/\r?\n/)) {
    const directive = /^\s*#\s*([a-zA-Z]+)\s*=\s*(\S+)\s*$/.exec(line);
    if (directive === null) return undefined;
    if (directive[1]?.toLowerCase() === 'syntax') return directive[2];
  }
  return undefined;
}

/** Names declared by an `ARG` line of any stage. Finding one too many does no harm. */
export function declaredArguments(dockerfile: string): Set<string> {
  const joined = dockerfile.replace(/[\\`][ \t]*\r?\n(?:[ \t]*#[^\n]*\n)*/g, ' ');
  const declared = new Set<string>();
  for (const [, list = ''] of joined.matchAll(/^[ \t]*ARG[ \t]+(.*)$/gim)) {
    const names = list.replace(/=("[^"]*"|'[^']*')/g, '=');
    for (const [, name = ''] of names.matchAll(/(?:^|\s)["']?([A-Za-z_]\w*)/g)) declared.add(name);
  }
  return declared;
}

/** The first `RUN <<EOF`: newer engines' legacy builder accepts it and silently runs nothing. */
export function hereDocumentLine(dockerfile: string): number | undefined {
  const lines = dockerfile.split('\n');
  const index = lines.findIndex((line) => /^\s*(RUN|COPY|ADD)\s(.*\s)?\d*<<-?["']?\w/i.test(line));
  return index === -1 ? undefined : index + 1;
}
