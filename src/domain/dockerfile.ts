/** The image named by `# syntax=` at the top of a Dockerfile, which BuildKit pulls to read the rest. */
export function syntaxImage(dockerfile: string): string | undefined {
  for (const line of dockerfile.replace(/^\uFEFF/, '').split(/\r?\n/)) {
    const directive = /^\s*#\s*([a-zA-Z]+)\s*=\s*(\S+)\s*$/.exec(line);
    if (directive === null) return undefined;
    if (directive[1]?.toLowerCase() === 'syntax') return directive[2];
  }
  return undefined;
}

/**
 * The image that has to bring the command, when no stage of the result has a `CMD` or `ENTRYPOINT`; `scratch` has none.
 * `undefined` when one has, and when it cannot be told without building.
 */
export function imageToBringCommand(dockerfile: string): string | undefined {
  const stages: { name: string | undefined; base: string; hasCommand: boolean }[] = [];
  for (const line of joinedLines(dockerfile).split('\n')) {
    const from = /^\s*FROM\s+(?:--\S+\s+)*(\S+)(?:\s+AS\s+(\S+))?\s*$/i.exec(line);
    if (from) stages.push({ base: from[1] ?? '', name: from[2]?.toLowerCase(), hasCommand: false });
    else if (/^\s*(CMD|ENTRYPOINT)\s/i.test(line)) {
      const stage = stages.at(-1);
      if (stage) stage.hasCommand = true;
    }
  }
  for (let at = stages.length - 1; at >= 0; ) {
    const stage = stages[at];
    if (!stage || stage.hasCommand || stage.base.includes('$')) return undefined;
    const earlier = stages.slice(0, at).findLastIndex(({ name }) => name === stage.base.toLowerCase());
    if (earlier === -1) return stage.base;
    at = earlier;
  }
  return undefined;
}

/** Names declared by an `ARG` line of any stage. Finding one too many does no harm. */
export function declaredArguments(dockerfile: string): Set<string> {
  const joined = joinedLines(dockerfile);
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

/** A line that ends in the escape character goes on in the next one; comments in between do not count. */
function joinedLines(dockerfile: string): string {
  return dockerfile.replace(/[\\`][ \t]*\r?\n(?:[ \t]*#[^\n]*\n)*/g, ' ');
}
