import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { z } from 'zod';
import type { AppName } from '../domain/app.ts';
import {
  type AppOptions,
  type AppVolume,
  problemWithAppOptions,
  problemWithVolume,
} from '../domain/app-options.ts';
import { UserError } from '../errors.ts';
import type { VolumeStore } from '../store/volume-store.ts';
import { type AppRoutesDeps, appParams, requireApp } from './app-routes.ts';
import { volumeShape, volumesShape } from './contract/options.ts';

export type VolumeRoutesDeps = Pick<AppRoutesDeps, 'apps'> & { volumes: VolumeStore };

/** Folders of an app that outlive its containers. */
export function volumeRoutes(deps: VolumeRoutesDeps): FastifyPluginAsyncZod {
  const { apps, volumes } = deps;
  const list = async (app: AppName): Promise<z.infer<typeof volumesShape>> => {
    const attached = (await apps.options(app)).volumes.map(({ name, path }) => ({ name, path }));
    const detached = (await volumes.detached(app)).map((name) => ({ name, path: null }));
    return { volumes: [...attached, ...detached] };
  };

  return async (api) => {
    api.get(
      '/apps/:app/volumes',
      { config: { right: 'read' }, schema: { params: appParams, response: { 200: volumesShape } } },
      async ({ account, params }) => list((await requireApp(deps, account, params.app)).name),
    );

    api.post(
      '/apps/:app/volumes',
      {
        config: { right: 'deploy', action: 'add volume', shown: ['name', 'path'] },
        schema: { params: appParams, body: volumeShape, response: { 201: volumesShape } },
      },
      async ({ account, params, body }, reply) => {
        const { name: app } = await requireApp(deps, account, params.app);
        const problem = problemWithVolume(body);
        if (problem) throw new UserError('INVALID', problem);
        await apps.changeOptions(app, (options) => withVolume(options, body));
        await volumes.attach(app, body.name);
        return reply.status(201).send(await list(app));
      },
    );

    api.delete(
      '/apps/:app/volumes/:volume',
      {
        config: { right: 'deploy', action: 'remove volume' },
        schema: {
          params: appParams.extend({ volume: z.string() }),
          querystring: z.object({ deleteData: z.enum(['true', 'false']).default('false') }),
          response: { 200: volumesShape },
        },
      },
      async ({ account, params, query }) => {
        const { name: app } = await requireApp(deps, account, params.app);
        const { volumes: attached } = await apps.options(app);
        if (
          !attached.some(({ name }) => name === params.volume) &&
          !(await volumes.detached(app)).includes(params.volume)
        )
          throw new UserError(
            'NOT_FOUND',
            `${app} has no volume "${params.volume.slice(0, 50)}"`,
            `list them: gantry volumes list ${app}`,
          );
        await apps.changeOptions(app, (options) => ({
          ...options,
          volumes: options.volumes.filter(({ name }) => name !== params.volume),
        }));
        await volumes.detach(app, params.volume, query.deleteData === 'true');
        return list(app);
      },
    );
  };
}

function withVolume(options: AppOptions, volume: AppVolume): AppOptions {
  for (const { name, path } of options.volumes) {
    if (name === volume.name)
      throw new UserError('CONFLICT', `the volume ${name} is there already, at ${path}`);
    if (path === volume.path) throw new UserError('CONFLICT', `the volume ${name} is at ${path} already`);
  }
  const changed = { ...options, volumes: [...options.volumes, volume] };
  const problem = problemWithAppOptions(changed);
  if (problem) throw new UserError('INVALID', problem);
  return changed;
}
