import type { Capabilities } from '../../lib/fleet/backend.ts';
import type { Difference } from '../contracts/backend-access.ts';

/** What a server cannot do, in words, and what Holdfast does about it. */
export interface Answered {
  readonly what: string;
  readonly answer: string;
}

/** Every difference that Holdfast knows of. A test checks that each capability is here. */
export const differences: Readonly<Record<Difference, Answered>> = {
  conditionalPut: {
    what: 'writes on a condition',
    answer: 'None is sent. Storage keys are fresh, so that nothing is written over but the owner object.',
  },
  conditionalCompletion: {
    what: 'completes an upload on a condition',
    answer: 'None is sent. Storage keys are fresh, so that nothing is written over.',
  },
  conditionalCopies: {
    what: 'copies by itself on a condition at the target',
    answer: 'None is sent; where writes must carry one, by role, bytes pass through the workers.',
  },
  conditionalDelete: {
    what: 'deletes on a condition',
    answer:
      'An imported file is left behind when its object is deleted, and reported: nothing else could tell a new one.',
  },
  checksumSha256: {
    what: 'checks a SHA-256 on arrival',
    answer: 'What was written is compared by its MD5 where the ETag is one, and else read back.',
  },
  bulkDelete: { what: 'deletes many keys at once', answer: 'Keys are deleted one by one.' },
  keepsVersions: {
    what: 'keeps no versions',
    answer: 'Every version of a key is listed and deleted; until then each is paid for.',
  },
  partCopy: { what: 'copies into a part', answer: 'It is not used.' },
  attestsCopies: {
    what: 'copies by itself, on a condition, and says the SHA-256 of the copy',
    answer: 'It is not asked to: bytes pass through the workers, which hash them.',
  },
  listsInByteOrder: {
    what: 'lists keys in the order of their bytes',
    answer: 'The reconciler follows the pages by their tokens, and leaves to the scrubber to find what is missing.',
  },
  startsAfterKeys: {
    what: 'lists from behind a key',
    answer: 'A listing goes from one end to the other, in one part.',
  },
  listsHeadEtags: { what: 'lists the ETag that a HEAD says', answer: 'Imported files are looked up one by one.' },
  pagesWhole: {
    what: 'ends its listings, with every key once',
    answer: '`init` refuses it: nobody could say what is there.',
  },
  keepsMetadata: {
    what: 'keeps user metadata',
    answer: '`init` refuses it: the mark on each copy says whose bytes they are, and recovery reads it.',
  },
  keepsHeaders: {
    what: 'keeps Content-Type and its like as they were sent',
    answer: 'Each copy is looked at once it is written. One with other headers is not recorded, and stays elsewhere.',
  },
  keepsKeys: {
    what: 'lists keys under their names',
    answer: '`init` refuses it: a copy would seem lost, and its bytes nobody\u2019s.',
  },
  takesDotSegments: {
    what: 'takes keys with `.` or `..` between slashes',
    answer: 'None is sent, for it may be stored as another key: such objects go to other backends.',
  },
  takesEmptySegments: {
    what: 'takes keys with `//`, or `/` at their beginning',
    answer: 'None is sent, for it may be stored as another key: such objects go to other backends.',
  },
  takesTrailingSlash: {
    what: 'takes keys with bytes that end in `/`',
    answer: 'None is sent. Storage keys of Holdfast never end so; only imported files could.',
  },
  takesBackslashes: {
    what: 'takes keys with `\\`',
    answer: 'None is sent, for it may be stored as another key: such objects go to other backends.',
  },
  takesControlCharacters: {
    what: 'takes keys with control characters, and lists them',
    answer: 'None is sent: such objects go to other backends.',
  },
  takesNestedKeys: {
    what: 'takes and lists a key and others below it, as `a` and `a/b`',
    answer:
      'No key of Holdfast is below another: each ends in an id of its own. Files that are hidden so are not imported.',
  },
  discardsTruncated: {
    what: 'stores nothing of a body that breaks off',
    answer: 'What is left has a key that no record names. It is queued for deletion before the first byte is sent.',
  },
  namesGoneUploads: {
    what: 'says of every request that an upload is gone',
    answer: 'The parts of an upload are listed before it is gone on with, and before it is completed.',
  },
  tags: { what: 'keeps object tags', answer: 'None are sent, and none are copied from there.' },
  maxParts: {
    what: 'completes uploads in parts',
    answer:
      '`init` asks for a `maxObjectBytes` below which everything is written at once; larger objects go elsewhere.',
  },
  metadataBytes: { what: 'takes 2 KiB of user metadata', answer: 'Objects with more go to other backends.' },
  maxKeyBytes: { what: 'takes keys of 1,024 bytes', answer: 'Objects with longer keys go to other backends.' },
  maxSegmentBytes: {
    what: 'takes any length between two slashes',
    answer: 'Objects with longer names between two slashes go to other backends.',
  },
  hangsUp: {
    what: 'reads a body that it refuses to its end',
    answer: 'An answer that is lost so counts as none: what stands at the key is looked at.',
  },
  missingIsChanged: {
    what: 'tells a condition that met nothing from one that met other bytes',
    answer: 'What a deletion on a condition did not delete is looked at: with nothing there, it is done.',
  },
  takesSmallParts: {
    what: 'refuses parts below 5 MiB',
    answer: 'None is sent, but the last of an upload.',
  },
  refusesKey: {
    what: 'takes every other key',
    answer: 'A definite refusal costs that one object a place there: it goes to other backends.',
  },
};

/** No capabilities, and not about one key: the contract alone meets them. */
export const besideCapabilities: ReadonlySet<Difference> = new Set(['hangsUp', 'missingIsChanged', 'takesSmallParts']);

/** The capabilities that a server lacks, as names in the table of differences. */
export function lackedBy(can: Capabilities): Difference[] {
  const lacked: Difference[] = [];
  for (const name of Object.keys(differences) as Difference[]) {
    if (name === 'refusesKey' || besideCapabilities.has(name)) continue;
    if (isLacking(can, name as keyof Capabilities)) lacked.push(name);
  }
  return lacked;
}

const usual = { maxParts: 10_000, metadataBytes: 2048, maxKeyBytes: 1024 } as const;

function isLacking(can: Capabilities, name: keyof Capabilities): boolean {
  const value = can[name];
  if (name === 'keepsVersions') return value === true;
  if (name === 'maxSegmentBytes') return value !== undefined;
  if (name in usual) return typeof value === 'number' && value < usual[name as keyof typeof usual];
  return value === false;
}
