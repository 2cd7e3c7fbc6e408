import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { systemClock } from '../../lib/base/clock.ts';
import { createIds } from '../../lib/base/ids.ts';
import { onFirstFree, portsFrom } from '../../lib/local/ports.ts';
import { createS3Server, type S3Server } from '../../lib/local/s3/server.ts';

const credentials = { accessKeyId: 'PROVIDER', secretAccessKey: 'a secret of the provider' };

/** S3 servers that stand for providers somewhere else, and a folder for a machine that uses them. */
export interface Providers {
  /** A folder of its own. */
  readonly dir: string;
  readonly fleet: { readonly backends: readonly { readonly name: string }[] };
  /** What a command on that machine is given: the fleet file, and nothing that configures tables. */
  readonly env: Record<string, string>;
  server(name: string): S3Server;
  /** Nobody listens there, until it is `up` again. */
  down(name: string): Promise<void>;
  up(name: string): Promise<void>;
  close(): Promise<void>;
}

export async function startProviders(
  names: readonly string[],
  policies: object = { default: { factor: 2 } },
): Promise<Providers> {
  const dir = mkdtempSync(join(tmpdir(), 'holdfast-providers-'));
  const servers = new Map<string, S3Server>();
  const start = async (name: string, port: number) => {
    const options = { dir: join(dir, 'provider', name), buckets: [`bucket-${name}`], port };
    servers.set(name, await createS3Server({ ...options, credentials: [credentials], clock: systemClock }));
  };
  // While one is down, its port is not one that the system hands out to others.
  const newPort = portsFrom(createIds(systemClock));
  for (const name of names) await onFirstFree(newPort, (port) => start(name, port));
  const ports = new Map([...servers].map(([name, { port }]) => [name, port]));
  const backends = names.map((name) => ({
    name,
    endpoint: servers.get(name)!.endpoint,
    region: 'us-east-1',
    bucket: `bucket-${name}`,
    pathStyle: true,
    credentials,
  }));
  const fleet = { backends, policies };
  return {
    dir,
    fleet,
    env: { HOLDFAST_FLEET: JSON.stringify(fleet), HOLDFAST_ALLOW_PRIVATE_ENDPOINTS: 'true' },
    server: (name) => servers.get(name)!,
    async down(name) {
      await servers.get(name)!.close();
    },
    up: (name) => start(name, ports.get(name)!),
    async close() {
      for (const server of servers.values()) await server.close();
      rmSync(dir, { recursive: true, force: true });
    },
  };
}
