import { BlockList, isIP, isIPv6 } from 'node:net';

/** Ranges that mean something else, or something more, from inside a network (RFC 6890 and its successors). */
const privateRanges = new BlockList();
for (const [net, prefix] of [
  ['0.0.0.0', 8],
  ['10.0.0.0', 8],
  ['100.64.0.0', 10],
  ['127.0.0.0', 8],
  ['169.254.0.0', 16],
  ['172.16.0.0', 12],
  ['192.0.0.0', 24],
  ['192.168.0.0', 16],
  ['198.18.0.0', 15],
  ['224.0.0.0', 3],
] as const)
  privateRanges.addSubnet(net, prefix, 'ipv4');
for (const [net, prefix] of [
  ['::', 127],
  // Local translation to IPv4, whatever lies behind it (RFC 8215); and Teredo, which hides an IPv4 address.
  ['64:ff9b:1::', 48],
  ['100::', 64],
  ['2001::', 32],
  ['fc00::', 7],
  ['fe80::', 10],
  ['fec0::', 10],
  ['ff00::', 8],
] as const)
  privateRanges.addSubnet(net, prefix, 'ipv6');

/**
 * IPv6 prefixes that carry an IPv4 address, and at which 16-bit group it begins: compatible, mapped, translated (RFC 6052),
 * 6to4.
 */
const carriers: readonly { readonly groups: readonly number[]; readonly at: number }[] = [
  { groups: [0, 0, 0, 0, 0, 0], at: 6 },
  { groups: [0, 0, 0, 0, 0, 0xffff], at: 6 },
  { groups: [0, 0, 0, 0, 0xffff, 0], at: 6 },
  { groups: [0x64, 0xff9b, 0, 0, 0, 0], at: 6 },
  { groups: [0x2002], at: 1 },
];

/**
 * Whether a host is loopback, private, link-local or otherwise not on the public internet, by its address in any spelling,
 * or by a name that only a local network resolves. `hostname` as a `URL` has it.
 */
export function isPrivateHost(hostname: string): boolean {
  const host = hostname
    .replace(/^\[|\]$/g, '')
    .replace(/\.+$/, '')
    .toLowerCase();
  if (isIPv6(host)) {
    const carried = carriedIPv4(host);
    return privateRanges.check(host, 'ipv6') || (carried !== null && privateRanges.check(carried, 'ipv4'));
  }
  if (isIP(host) === 4) return privateRanges.check(host, 'ipv4');
  return (
    !host.includes('.') || /\.(local|localhost|localdomain|internal|intranet|lan|home|corp|home\.arpa)$/.test(host)
  );
}

function carriedIPv4(host: string): string | null {
  const groups = groupsOf(host);
  const carrier = carriers.find(({ groups: prefix }) => prefix.every((group, i) => groups[i] === group));
  if (carrier === undefined) return null;
  return [groups[carrier.at]!, groups[carrier.at + 1]!].flatMap((group) => [group >> 8, group & 255]).join('.');
}

/** The eight 16-bit groups of an IPv6 address. */
function groupsOf(host: string): number[] {
  const parse = (part: string) => (part === '' ? [] : part.split(':').map((group) => Number.parseInt(group, 16)));
  // A URL writes a dotted tail as two groups already; other callers may not.
  const plain = host.replace(/(\d+)\.(\d+)\.(\d+)\.(\d+)$/, (_, a, b, c, d) =>
    [(Number(a) << 8) | Number(b), (Number(c) << 8) | Number(d)].map((group) => group.toString(16)).join(':'),
  );
  const [head = '', tail] = plain.split('::');
  const before = parse(head);
  const after = tail === undefined ? [] : parse(tail);
  return [...before, ...Array.from({ length: 8 - before.length - after.length }, () => 0), ...after];
}

/**
 * Whether a host is S3's own on AWS: regional, global, dual-stack, FIPS, accelerated, or an interface endpoint of S3; with a
 * bucket before it or not. Other services of AWS run what their customers wrote: they must never be sent a role's signature.
 */
export function isS3Host(hostname: string): boolean {
  const host = hostname.replace(/\.+$/, '').toLowerCase();
  const region = '[a-z]{2}(?:-[a-z]+)+-\\d+';
  const own = new RegExp(
    `(?:^|\\.)s3(?:-accelerate|-fips)?(?:[.-]dualstack)?(?:[.-]${region})?\\.amazonaws\\.com(?:\\.cn)?$`,
  );
  const behindInterface = new RegExp(`(?:^|\\.)vpce-[a-z0-9-]+\\.s3\\.${region}\\.vpce\\.amazonaws\\.com(?:\\.cn)?$`);
  return own.test(host) || behindInterface.test(host);
}

/** What is wrong with where an endpoint is, in words; none for one on the public internet over https. */
export function endpointConcerns(endpoint: string): string[] {
  const { protocol, hostname } = new URL(endpoint);
  return [
    ...(protocol === 'https:' ? [] : ['not https']),
    ...(isPrivateHost(hostname) ? ['loopback, private or link-local'] : []),
  ];
}

/** Whether an endpoint is this machine itself, written as people write it: another spelling has something to hide. */
export function isThisMachine(endpoint: string): boolean {
  return /^https?:\/\/(localhost|127\.\d+\.\d+\.\d+|\[::1\])(:\d+)?(\/|$)/.test(endpoint);
}

/** The fields of a backend that say where it is and as whom it is asked. */
interface Located {
  readonly name: string;
  readonly endpoint?: string | undefined;
  readonly credentials: unknown;
  readonly deleteCredentials?: unknown;
}

/** Backends whose endpoints may be as they are, whatever is said against them. */
export type Waived = 'all' | readonly string[];

/** Reads a list of waived backends: names by comma, `true` for all, `false` or nothing for none. */
export function parseWaived(value: string | undefined): Waived {
  if (value === 'true') return 'all';
  const names = (value ?? '').split(',').map((name) => name.trim());
  return names.filter((name) => name !== '' && name !== 'false');
}

/** What is said against where backends are, and against roles that would be shown to others than S3; waived ones aside. */
export function locationProblems(backends: readonly Located[], waived: Waived): string[] {
  return backends
    .filter(({ name }) => waived !== 'all' && !waived.includes(name))
    .flatMap(({ name, endpoint, credentials, deleteCredentials }) => {
      if (endpoint === undefined) return [];
      const asRole = Object.entries({ credentials, deleteCredentials }).flatMap(([field, value]) =>
        value === 'role' && !isS3Host(new URL(endpoint).hostname)
          ? [`Backend "${name}": ${field} "role" is for buckets on AWS; ${endpoint} needs keys of its own`]
          : [],
      );
      return [
        ...endpointConcerns(endpoint).map((what) => `Backend "${name}": endpoint ${endpoint} is ${what}`),
        ...asRole,
      ];
    });
}
