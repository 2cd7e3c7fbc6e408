import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import type { Endpoint } from './child-loop.ts';
import type { Measured } from './measured.ts';
import { cpuMsOf, peakBytesOf } from './processes.ts';

export interface RcloneWork {
  readonly from: Endpoint;
  readonly to: Endpoint;
  /** Folders of the buckets. */
  readonly fromFolder: string;
  readonly toFolder: string;
  readonly transfers: number;
  readonly objects: number;
  /** Whom to trust, where there is TLS. */
  readonly certificatePath?: string;
}

/** The first line that `rclone version` says; null when it is not installed. */
export function rcloneVersion(command: string): string | null {
  const asked = spawnSync(command, ['version'], { encoding: 'utf8' });
  return asked.status === 0 ? asked.stdout.split('\n')[0]! : null;
}

/** `rclone copy` of a folder as it comes, as many transfers at a time. Its start is part of its time. */
export async function runRclone(command: string, work: RcloneWork): Promise<Measured> {
  const trust = work.certificatePath === undefined ? [] : ['--ca-cert', work.certificatePath];
  const args = [
    'copy',
    `from:${work.from.bucket}/${work.fromFolder}`,
    `to:${work.to.bucket}/${work.toFolder}`,
    ...['--transfers', String(work.transfers), '--checkers', String(work.transfers), '--s3-no-check-bucket'],
    ...trust,
  ];
  // Nothing of this machine's settings, which are not the bench's.
  const env = { RCLONE_CONFIG: '/dev/null', ...remote('FROM', work.from), ...remote('TO', work.to) };
  const cpuBefore = cpuMsOf('self', 'its ended children');
  const startedAt = performance.now();
  const child = spawn(command, args, { env, stdio: ['ignore', 'ignore', 'pipe'] });
  let output = '';
  child.stderr.on('data', (text: Buffer) => {
    output += text;
  });
  let maxRssBytes = 0;
  const sampling = setInterval(() => {
    maxRssBytes = Math.max(maxRssBytes, peakBytesOf(child.pid!));
  }, 20);
  const [status] = (await once(child, 'close')) as [number];
  clearInterval(sampling);
  if (status !== 0) throw new Error(`rclone failed: ${output}`);
  const ms = performance.now() - startedAt;
  const cpuMs = cpuMsOf('self', 'its ended children') - cpuBefore;
  const sized = spawnSync(command, ['size', '--json', args[2]!, ...trust], { env, encoding: 'utf8' });
  const { count } = JSON.parse(sized.stdout) as { count: number };
  if (count !== work.objects) throw new Error(`rclone copied ${count} of ${work.objects} objects`);
  return { ms, cpuMs, maxRssBytes, copied: count };
}

function remote(name: string, { endpoint, credentials }: Endpoint): Record<string, string> {
  const settings = {
    TYPE: 's3',
    PROVIDER: 'Other',
    ENDPOINT: endpoint,
    REGION: 'us-east-1',
    FORCE_PATH_STYLE: 'true',
    ACCESS_KEY_ID: credentials.accessKeyId,
    SECRET_ACCESS_KEY: credentials.secretAccessKey,
  };
  return Object.fromEntries(Object.entries(settings).map(([key, value]) => [`RCLONE_CONFIG_${name}_${key}`, value]));
}
