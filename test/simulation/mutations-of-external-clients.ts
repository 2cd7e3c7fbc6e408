import type { Mutation } from './mutations.ts';

/** Rules about files that we did not write, and about listings, left out. */
export const externalClientsMutations: readonly Mutation[] = [
  {
    name: 'a file of an external client is deleted whatever it is now',
    edits: [
      {
        file: 'workers/cleanup-queue.ts',
        find: '...(plainEtag === undefined ? {} : { ifMatch: plainEtag }),',
        replace: '',
      },
    ],
  },
  {
    name: 'a file of an external client goes with its record, although nobody asked',
    edits: [
      {
        file: 'store/swap.ts',
        find: '!(swap.deletesPlain?.includes(backend) && before.plainEtags?.[backend] !== undefined)',
        replace: 'before.plainEtags?.[backend] === undefined',
      },
    ],
  },
  {
    name: 'a file of an external client is surplus',
    edits: [
      {
        file: 'workers/over-replication-cleaner.ts',
        find: 'mayGo: !isPlain || isDraining',
        replace: 'mayGo: true',
      },
    ],
  },
  {
    name: 'what a delete left behind is imported again',
    edits: [
      {
        file: 'workers/reconciler/import-file.ts',
        find: "if (entry?.plainEtags?.[backend.name] === stored.etag) return found(pass, 'skipped', 'left-behind', key);",
        replace: '',
      },
    ],
  },
  {
    name: 'files with another mark are imported',
    edits: [
      {
        file: 'workers/reconciler/unnamed.ts',
        find: "if (mark.outcome === 'foreign') return found(pass, 'skipped', 'foreign-mark', key);",
        replace: '',
      },
      {
        file: 'workers/reconciler/unnamed.ts',
        find: "if (mark.outcome === 'none') {",
        replace: "if (mark.outcome !== 'ours') {",
      },
    ],
  },
  {
    name: 'files join whatever they hold',
    edits: [
      {
        file: 'workers/reconciler/import-file.ts',
        find: 'const isEqual = sha256 === known;',
        replace: 'const isEqual = true;',
      },
    ],
  },
  {
    name: 'a draining backend is filled with imports',
    edits: [
      {
        file: 'workers/reconciler/import-file.ts',
        find: 'if (tick.standing(backend.name).isDraining)',
        replace: 'if (false as boolean)',
      },
    ],
  },
  {
    name: 'one read tells the hash of what nobody hashed',
    edits: [
      {
        file: 'transfer/verify.ts',
        find: "if (etag.replaceAll('\"', '') === md5.digest('hex')) return true;",
        replace: 'return true;',
      },
    ],
  },
  {
    name: 'a file is copied although its owner changed it',
    edits: [
      {
        file: 'transfer/copy.ts',
        find: 'ifMatch === undefined ? {} : { ifMatch }',
        replace: '{}',
      },
    ],
  },
  {
    name: 'what an owner overwrote goes before the new content is at its factor',
    edits: [
      {
        file: 'workers/cleanup-queue.ts',
        find: 'if (item.reason !== overwrittenReason) return false;',
        replace: 'return false;',
      },
    ],
  },
  {
    name: 'an owner who overwrites a file is not noticed',
    edits: [
      {
        file: 'workers/reconciler/reconciler.ts',
        find: 'if (object.plainEtags?.[backend.name] === etag || tick.dryRun) return;',
        replace: 'return;',
      },
      {
        file: 'workers/scrubber/scrub-object.ts',
        find: 'say(await settlePlainChange(tick, current, backend));',
        replace: "say('changed');",
      },
    ],
  },
  {
    name: 'a listing that breaks off is taken for its end',
    edits: [
      {
        file: 'workers/reconciler/reconciler.ts',
        find: `      after,
    });
    return 'stopped';`,
        replace: '      after,\n    });\n    return undefined;',
      },
    ],
  },
  {
    name: 'a key that answers an error keeps the pass from the others',
    edits: [
      {
        file: 'workers/reconciler/pass.ts',
        find: '!aboutOneKey.has(error.kind)',
        replace: 'aboutOneKey.has(error.kind)',
      },
    ],
  },
  {
    name: 'what is under a delete marker is missing',
    edits: [
      {
        file: 'transfer/read-copy.ts',
        find: "if (error.kind === 'not-found') return { outcome: 'missing' };",
        replace: "if (error.kind === 'not-found' || error.kind === 'delete-marker') return { outcome: 'missing' };",
      },
    ],
  },
];
