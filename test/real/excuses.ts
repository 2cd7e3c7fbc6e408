import type { Capabilities } from '../../lib/fleet/backend.ts';

/** Why a test of the contract need not hold on a server: a capability that it was found not to have. */
interface Excuse {
  readonly title: RegExp;
  isExcused(can: Capabilities): boolean;
  readonly reason: string;
}

const excuses: readonly Excuse[] = [
  {
    title: /tags/i,
    isExcused: ({ tags }) => tags !== true,
    reason: 'it keeps no tags, or other ones: none are sent',
  },
  {
    title: /metadata|headers/i,
    isExcused: ({ keepsMetadata }) => keepsMetadata !== true,
    reason: 'it does not keep user metadata as it was sent: `init` refuses it',
  },
  {
    title: /if(Absent|Match)|condition|overwrite/i,
    isExcused: ({ conditionalPut, conditionalDelete }) => conditionalPut !== true || conditionalDelete !== true,
    reason: 'it ignores conditions: none are relied on',
  },
  {
    title: /order|behind|after a key|from a key/i,
    isExcused: ({ listsInByteOrder, startsAfterKeys }) => listsInByteOrder !== true || startsAfterKeys !== true,
    reason: 'its listings keep no byte order, or do not begin behind a key: they are followed by their tokens alone',
  },
  {
    title: /SHA-256|checksum|attest/i,
    isExcused: ({ checksumSha256, attestsCopies }) => checksumSha256 !== true || attestsCopies !== true,
    reason: 'it attests no SHA-256: what was written is read back',
  },
  {
    title: /neighbour|cop(y|ies)/i,
    isExcused: ({ attestsCopies, partCopy }) => attestsCopies !== true || partCopy !== true,
    reason: 'it does not copy by itself, or does not say what it copied: bytes pass through the workers',
  },
  {
    title: /delete/i,
    isExcused: ({ bulkDelete }) => bulkDelete !== true,
    reason: 'it deletes one key at a time',
  },
  {
    title: /the key "k{900}"|the key "\u00e9{450}"/,
    isExcused: ({ maxSegmentBytes, maxKeyBytes = 1024 }) => maxSegmentBytes !== undefined || maxKeyBytes < 1000,
    reason: 'its keys, or what stands between two slashes of them, are shorter: such objects go to other backends',
  },
];

/** Keys that a server refuses are refused one by one, and never stored elsewhere by mistake. Some tests need many of them. */
const oddKey =
  /finds and deletes the key|holds every key once|for every key in order|keys that begin with it|every odd key|but the key it names|uploads of exactly one key/;
const refusal = /^(BackendError: )?Cannot (write|read|look up|delete|begin an upload of) /;

/** Why a test that failed on a server may fail there; null where it may not. */
export function excuseFor(title: string, message: string, can: Capabilities): string | null {
  const excuse = excuses.find((one) => one.title.test(title) && one.isExcused(can));
  if (excuse !== undefined) return excuse.reason;
  if (oddKey.test(title) && refusal.test(message)) return 'it refuses this key: such objects go to other backends';
  return null;
}
