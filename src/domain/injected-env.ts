import { createHash } from 'node:crypto';
import type { BoundService } from './service.ts';
import { type PlatformFacts, serviceEnv, vcapApplication } from './service-env.ts';

/** What Clever Cloud's and Cloud Foundry's variables are made of. */
export type InjectedFacts = PlatformFacts & {
  /** Empty for an image. */
  commit: string;
  port: number;
  services: readonly BoundService[];
  /** Of an image, as on Cloud Foundry. */
  isPulled: boolean;
};

export type InstanceFacts = {
  /** 0 for the first instance of a release. */
  number: number;
  /** The working directory in the image. */
  home: string;
  /** Where the router's requests come from. */
  proxies: readonly string[];
};

/** For a Dockerfile's `ARG`s and secrets. An `ARG` that is not declared does not spoil the cache, whatever its value. */
export function buildEnv(facts: InjectedFacts): Record<string, string> {
  return { ...common(facts), INSTANCE_TYPE: 'build' };
}

export function hookEnv(facts: InjectedFacts, home: string): Record<string, string> {
  return {
    ...common(facts),
    APP_HOME: home,
    INSTANCE_TYPE: 'build',
    INSTANCE_NUMBER: '0',
    INSTANCE_ID: `${facts.app}-v${facts.number}-build`,
    CC_PRETTY_INSTANCE_NAME: prettyName(`${facts.appId} ${facts.number} build`),
  };
}

export function instanceEnv(facts: InjectedFacts, instance: InstanceFacts): Record<string, string> {
  return {
    ...common(facts),
    APP_HOME: instance.home,
    INSTANCE_TYPE: 'production',
    INSTANCE_NUMBER: String(instance.number),
    INSTANCE_ID: `${facts.app}-v${facts.number}-${instance.number}`,
    CC_PRETTY_INSTANCE_NAME: prettyName(`${facts.appId} ${facts.number} ${instance.number}`),
    CC_REVERSE_PROXY_IPS: instance.proxies.join(','),
  };
}

function common(facts: InjectedFacts): Record<string, string> {
  const { appId, app, number, commit, port, services, isPulled } = facts;
  return {
    // Frameworks that find them take it that this is Cloud Foundry, which is nothing to tell every app.
    ...((services.length > 0 || isPulled) && {
      ...serviceEnv(services),
      VCAP_APPLICATION: vcapApplication(facts),
    }),
    PORT: String(port),
    APP_ID: appId,
    CC_APP_NAME: app,
    CC_DEPLOYMENT_ID: String(number),
    ...(commit !== '' && { CC_COMMIT_ID: commit, COMMIT_ID: commit }),
  };
}

const moods = [
  'brave calm clever eager fair fancy gentle glad happy jolly keen kind lively lucky merry mighty',
  'neat noble polite proud quick quiet ready sharp shiny smart steady swift tidy warm wise witty',
]
  .join(' ')
  .split(' ');
const animals = [
  'badger beaver bison camel crane dolphin eagle falcon ferret finch fox gecko heron ibex jackal koala',
  'lemur lynx marten mole newt orca otter owl panda pony raven robin seal stork tapir wombat',
]
  .join(' ')
  .split(' ');

/** Easier to say than an id; the same for the same instance, so that every view of it agrees. */
function prettyName(seed: string): string {
  const [mood = 0, animal = 0, number = 0] = createHash('sha256').update(seed).digest();
  return `${moods[mood % moods.length]}-${animals[animal % animals.length]}-${number}`;
}
