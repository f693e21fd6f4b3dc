import type { Redis } from 'ioredis';
import { hastyRedis, patientRedis, type RedisAddress } from './redis.ts';

/** The connections of one process to its Redis, which are closed together. */
export class Connections {
  readonly #address: RedisAddress;
  readonly #open: Redis[] = [];

  constructor(address: RedisAddress) {
    this.#address = address;
  }

  /** See `patientRedis`. */
  patient(): Redis {
    return this.#keep(patientRedis(this.#address));
  }

  /** See `hastyRedis`. */
  hasty(): Redis {
    return this.#keep(hastyRedis(this.#address));
  }

  close(): void {
    for (const connection of this.#open) connection.disconnect();
  }

  #keep(connection: Redis): Redis {
    this.#open.push(connection);
    return connection;
  }
}
