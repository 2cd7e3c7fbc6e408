import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Launch, Place } from './launch.ts';

const fsid = '5c1f3b2e-7f0d-4a53-9d1e-0f6f4a3c2b10';
const osdId = 'b8f4c8de-2f4e-4f0b-8d0e-7b4f8f7f9a21';

/**
 * A whole cluster in a root of its own: a monitor, one store in a file, and the gateway. They live in a process namespace that
 * ends with its first process, and see the folder of this run as `/mnt`.
 */
export function launchCeph({ home, dir, port }: Place, keys: Keys): Launch {
  const root = join(home, 'root');
  writeFileSync(join(dir, 'ceph.conf'), settings(port));
  writeFileSync(join(dir, 'inside.sh'), inside(port, keys));
  const mounts = [`mount --bind '${dir}' '${root}/mnt'`, `mount -t proc proc '${root}/proc'`];
  const script = [...mounts, `mount --rbind /dev '${root}/dev'`, `exec chroot '${root}' bash /mnt/inside.sh`];
  return { program: 'unshare', args: ['--mount', '--pid', '--fork', '--kill-child', 'bash', '-ec', script.join('\n')] };
}

interface Keys {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
}

function monitorAt(port: number): string {
  return `v2:127.0.0.1:${port + 1}`;
}

/** Alone on this machine: nobody is asked for a key but by S3, one copy is enough, and all that is written goes to the folder. */
function settings(port: number): string {
  const modes = ['mon client', 'client', 'service', 'cluster', 'mon cluster', 'mon service'];
  const sections: Record<string, readonly string[]> = {
    global: [
      `fsid = ${fsid}`,
      `mon host = ${monitorAt(port)}`,
      ...['cluster', 'service', 'client'].map((who) => `auth ${who} required = none`),
      ...modes.map((mode) => `ms ${mode} mode = crc`),
      'ms bind msgr1 = false',
      'osd pool default size = 1',
      'osd pool default min size = 1',
      'osd pool default pg num = 8',
      'osd pool default pg autoscale mode = off',
      'osd crush chooseleaf type = 0',
      'osd memory target = 939524096',
      'mon allow pool size one = true',
      'mon max pg per osd = 1000',
      'mon data avail crit = 1',
      'bluestore block size = 8589934592',
      'public addr = 127.0.0.1',
      'cluster addr = 127.0.0.1',
      'run dir = /mnt',
      'crash dir = /mnt',
      'log file = /mnt/$name.log',
      'admin socket = /mnt/$name.asok',
      'pid file = /mnt/$name.pid',
      'keyring = /mnt/keyring',
    ],
    mon: ['mon data = /mnt/mon', 'mon cluster log file = /mnt/cluster.log'],
    osd: ['osd data = /mnt/osd'],
    'client.rgw': [`rgw frontends = beast endpoint=127.0.0.1:${port}`],
  };
  return Object.entries(sections)
    .map(([name, lines]) => `[${name}]\n${lines.join('\n')}\n`)
    .join('');
}

function inside(port: number, { accessKeyId, secretAccessKey }: Keys): string {
  const user = `--uid real --display-name real --access-key ${accessKeyId} --secret-key ${secretAccessKey}`;
  return `set -e
export CEPH_CONF=/mnt/ceph.conf
once() { [ -e /mnt/made ] || "$@"; }
makeMonitor() {
  touch /mnt/keyring
  monmaptool --create --clobber --fsid ${fsid} --addv a '[${monitorAt(port)}]' /mnt/monmap
  ceph-mon --mkfs -i a --monmap /mnt/monmap
}
makeStore() {
  mkdir -p /mnt/osd
  ceph osd new ${osdId} 0
  ceph-osd -i 0 --mkfs --osd-uuid ${osdId}
}
once makeMonitor
ceph-mon -i a
once makeStore
ceph-osd -i 0
once radosgw-admin -n client.rgw user create ${user} >/mnt/user.log
touch /mnt/made
exec radosgw -f -n client.rgw
`;
}
