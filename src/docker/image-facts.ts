import type { ImageInspectInfo } from 'dockerode';
import type { ImageFacts } from './engine.ts';

export function imageFacts({ Id, Size, Config, Architecture, RootFS }: ImageInspectInfo): ImageFacts {
  // The types know lists only; the engine says null for none.
  const lists: unknown[] = [Config.Cmd, Config.Entrypoint, Config.OnBuild];
  const hasCommand = lists.some((list) => Array.isArray(list) && list.length > 0);
  return {
    id: Id,
    bytes: Size,
    workingDir: Config.WorkingDir || '/',
    hasCommand,
    architecture: Architecture,
    layers: RootFS?.Layers?.length ?? 0,
    exposedPorts: Object.keys((Config.ExposedPorts as object | null | undefined) ?? {}),
  };
}
