import { createHash } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { localDocker } from './base-image.ts';
import { importDebian, leanDpkg } from './debian-image.ts';
import type { TestFiles } from './git.ts';
import { labelsOf } from './look-alike-images.ts';

/** What the official image does with these variables. */
const entrypoint = `#!/bin/sh
set -e
PATH=$(echo /usr/lib/postgresql/*/bin):$PATH
if [ "$(id -u)" = 0 ]; then
  mkdir -p "$PGDATA"
  chown -R postgres "$PGDATA"
  exec setpriv --reuid=postgres --regid=postgres --init-groups "$0"
fi
if [ ! -s "$PGDATA/PG_VERSION" ]; then
  printf %s "$POSTGRES_PASSWORD" >/tmp/password
  initdb -D "$PGDATA" --username="$POSTGRES_USER" --pwfile=/tmp/password --auth=scram-sha-256 --auth-local=trust
  rm /tmp/password
  echo 'host all all all scram-sha-256' >>"$PGDATA/pg_hba.conf"
  pg_ctl -D "$PGDATA" -o '-k /tmp -c listen_addresses=' -w start
  createdb -h /tmp -U "$POSTGRES_USER" "$POSTGRES_DB"
  pg_ctl -D "$PGDATA" -m fast -w stop
fi
exec postgres -D "$PGDATA" -k /tmp -c 'listen_addresses=*'
`;

const mmdebstrap = [
  '--variant=minbase',
  '--include=postgresql,busybox-static',
  '--aptopt=APT::Install-Recommends "false"',
  ...leanDpkg,
  '--customize-hook=install -m 755 entrypoint "$1/usr/local/bin/docker-entrypoint.sh"',
];

/** A Debian from its mirror with its PostgreSQL, started as the official image is; there is no registry to have that from. */
export async function postgresImage(): Promise<string> {
  const recipe = createHash('sha256').update([entrypoint, ...mmdebstrap, ...changes].join(' '));
  const tag = `gantry-test/postgres:${recipe.digest('hex').slice(0, 12)}`;
  if (await labelsOf(localDocker(), tag)) return tag;

  const dir = await mkdtemp(join(tmpdir(), 'gantry-postgres-'));
  try {
    await writeFile(join(dir, 'entrypoint'), entrypoint);
    await importDebian(tag, dir, mmdebstrap, changes);
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
  return tag;
}

const changes = [
  'ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
  'ENV PGDATA=/var/lib/postgresql/data',
  'VOLUME /var/lib/postgresql/data',
  'EXPOSE 5432',
  'LABEL gantry.test-base=1',
  'ENTRYPOINT ["docker-entrypoint.sh"]',
];

/** An app that keeps notes in the database it is given: `/cgi-bin/notes?text` adds one. */
export function notesInPostgres(postgres: string, version: string): TestFiles {
  return {
    Dockerfile: `FROM ${postgres}
COPY www /www
ENTRYPOINT []
CMD exec busybox httpd -f -p "$PORT" -h /www
`,
    'www/index.html': version,
    'www/cgi-bin/notes': {
      executable: true,
      content: `#!/bin/sh
printf 'Content-Type: text/plain\\r\\n\\r\\n'
if [ -n "$QUERY_STRING" ]; then
  psql "$DATABASE_URL" -q -v text="$QUERY_STRING" <<'END' 2>&1
set client_min_messages = error;
create table if not exists notes (id serial, text text);
insert into notes (text) values (:'text');
END
fi
psql "$DATABASE_URL" -At -c "select string_agg(text, ' ' order by id) from notes" 2>&1
`,
    },
  };
}
