import { randomBytes } from 'node:crypto';
import type { z } from 'zod';
import { problemWithVolume } from '../domain/app-options.ts';
import { problemWithEnvName, problemWithEnvValue } from '../domain/env.ts';
import { parseImageReference } from '../domain/image-reference.ts';
import {
  type ManagedService,
  type TemplateName,
  templateNames,
  templateOfImage,
  templates,
} from '../domain/managed-service.ts';
import { type Credentials, type Service, type ServiceName, userProvided } from '../domain/service.ts';
import { UserError } from '../errors.ts';
import type { newServiceShape, serviceChangeShape } from './contract/services.ts';

type Wish = z.infer<typeof newServiceShape>;

export type ServicePlan = {
  label: string;
  managed: ManagedService | undefined;
  credentials: Credentials;
  env: Record<string, string>;
};

/** What is to be made of a wish for a service: one that runs elsewhere, or a container with credentials made for it. */
export function planService(name: ServiceName, wish: Wish): ServicePlan {
  const { credentials, image } = wish;
  if (image === undefined && wish.template === undefined) {
    if (credentials === undefined)
      throw new UserError(
        'INVALID',
        'a service has credentials, a template or an image',
        `templates are ${templateNames.join(', ')}`,
      );
    const [needless] = (['port', 'path', 'command', 'memory'] as const).filter((key) => key in wish);
    if (needless !== undefined)
      throw new UserError(
        'INVALID',
        `${needless} is for a service that runs here: with a template or an image`,
      );
    return { label: userProvided, managed: undefined, credentials, env: {} };
  }
  const isKnown = wish.port === undefined && wish.path === undefined;
  const templateName = wish.template ?? (isKnown ? templateOf(image ?? '') : undefined);
  refuseBadEnv(wish.env);
  return templateName === undefined
    ? planOwn(name, wish, image ?? '')
    : planTemplate(name, wish, templateName);
}

/** Port and path are the image's own, since it is known for what it is. */
function planTemplate(name: ServiceName, wish: Wish, templateName: TemplateName): ServicePlan {
  const template = templates[templateName];
  const image = wish.image ?? template.image;
  refuseBadImage(image);
  const { password = secret(), ...more } = wish.credentials ?? {};
  if (typeof password !== 'string' || !/^[\w.-]{1,200}$/.test(password))
    throw new UserError('INVALID', 'a password has letters, digits, dots, hyphens and underscores');
  if (Object.keys(more).length > 0 || wish.port !== undefined || wish.path !== undefined)
    throw new UserError(
      'INVALID',
      `with the template ${templateName} only a password can be given; its port, path and other credentials are made`,
    );
  const made = template.make(name, password, secret());
  return {
    label: template.label,
    managed: {
      image,
      port: template.port,
      path: template.path,
      memoryBytes: wish.memory,
      command: wish.command ?? template.command,
      volume: 1,
    },
    credentials: made.credentials,
    env: { ...made.env, ...wish.env },
  };
}

function planOwn(name: ServiceName, wish: Wish, image: string): ServicePlan {
  const { port, path, command, memory } = wish;
  refuseBadImage(image);
  if (port === undefined || path === undefined)
    throw new UserError(
      'INVALID',
      `nobody knows where ${image.slice(0, 100)} listens and keeps its data: give a port and a path`,
      `or a template, one of ${templateNames.join(', ')}`,
    );
  const problem = problemWithVolume({ name: 'data', path });
  if (problem) throw new UserError('INVALID', problem);
  return {
    label: 'container',
    managed: { image, port, path, memoryBytes: memory, command, volume: 1 },
    credentials: { hostname: name, host: name, port, ...wish.credentials },
    env: wish.env,
  };
}

/** `undefined`: it stays as it is. */
export function changeManaged(
  { name, managed }: Service,
  { image, memory }: z.infer<typeof serviceChangeShape>,
): ManagedService | undefined {
  if (image === undefined && memory === undefined) return undefined;
  if (!managed) throw new UserError('INVALID', `${name} does not run here: it has no image and no memory`);
  if (image !== undefined) refuseBadImage(image);
  return {
    ...managed,
    ...(image !== undefined && { image }),
    ...(memory !== undefined && { memoryBytes: memory ?? undefined }),
  };
}

function templateOf(image: string): TemplateName | undefined {
  const reference = parseImageReference(image);
  return 'problem' in reference ? undefined : templateOfImage(reference.path);
}

function refuseBadImage(image: string): void {
  const reference = parseImageReference(image);
  if ('problem' in reference) throw new UserError('INVALID', reference.problem);
}

function refuseBadEnv(env: Readonly<Record<string, string>>): void {
  for (const [name, value] of Object.entries(env)) {
    const problem = problemWithEnvName(name) ?? problemWithEnvValue(name, value);
    if (problem) throw new UserError('INVALID', problem);
  }
}

function secret(): string {
  return randomBytes(24).toString('hex');
}
