import { isRegistryLogin, looksSecret } from '../domain/build-argument.ts';
import { declaredArguments } from '../domain/dockerfile.ts';

/** What is wrong with a Dockerfile that takes secrets as arguments: their values stay in the history of the image. */
export function argumentWarnings(dockerfile: string): string[] {
  return [...declaredArguments(dockerfile)].flatMap((name) => {
    const instead = `use RUN --mount=type=secret,id=${name} instead`;
    if (isRegistryLogin(name))
      return [`ARG ${name} stays empty, a login is never a build argument: ${instead}`];
    return looksSecret(name) ? [`ARG ${name} leaves its value in the history of the image: ${instead}`] : [];
  });
}
