/** Bytes of ours that may be a copy of an object: by their mark, or because a record names them. */
export interface Candidate {
  readonly backend: string;
  readonly copyId: string;
  readonly generation: string;
  readonly sizeBytes: number;
  /** Its mark says a generation that was minted long after the bytes were stored: it never becomes the record. */
  readonly isFromTheFuture: boolean;
}

/**
 * What a candidate's bytes turned out to be. `proved`: they match the SHA-256 in their own mark, or their own ETag ·
 * `unproven`: two readings agree and nothing else speaks of them · `doubtful`: two readings agree, and differ from their own
 * ETag · `wrong`: they differ from their own mark · `missing` · `unreadable`: nothing can be said · `pending`: not read to the
 * end yet.
 */
export type CandidateReading =
  | { readonly outcome: 'proved' | 'unproven' | 'doubtful'; readonly sha256: string }
  | { readonly outcome: 'wrong' | 'missing' | 'unreadable' }
  /** `heldBy`: the limit that keeps it from being read for long. */
  | { readonly outcome: 'pending'; readonly heldBy?: string };

export interface ReadCandidate {
  readonly candidate: Candidate;
  readonly reading: CandidateReading;
}

/**
 * What the candidates of one generation say together. `good`: one content, with the candidates that hold it · `contradiction`:
 * several contents, each as good as the other · `none-good` · `unreadable`: none good, and some could not be read ·
 * `pending`: to be asked again.
 */
export type GenerationVerdict =
  | { readonly outcome: 'good'; readonly sha256: string; readonly copies: readonly Candidate[] }
  | { readonly outcome: 'contradiction' | 'none-good' | 'unreadable' | 'pending' };

/**
 * Judges one generation. Bytes that prove themselves are good; where none do, those that two backends agree on; a single
 * candidate that nothing contradicts. The order of the candidates never matters.
 */
export function judgeGeneration(all: readonly ReadCandidate[]): GenerationVerdict {
  if (all.some(({ reading }) => reading.outcome === 'pending')) return { outcome: 'pending' };
  const contents = contentsOf(all);
  const trusted = firstNonEmpty(contents, [
    (content) => content.isProved,
    (content) => content.backends.size > 1,
    (content) => content.isUndoubted,
  ]);
  if (trusted.length > 1) return { outcome: 'contradiction' };
  if (trusted.length === 1) return { outcome: 'good', sha256: trusted[0]!.sha256, copies: trusted[0]!.copies };
  return { outcome: all.some(({ reading }) => reading.outcome === 'unreadable') ? 'unreadable' : 'none-good' };
}

/** Candidates that were read and hold the same bytes. */
interface Content {
  readonly sha256: string;
  readonly copies: readonly Candidate[];
  readonly backends: ReadonlySet<string>;
  readonly isProved: boolean;
  readonly isUndoubted: boolean;
}

function contentsOf(all: readonly ReadCandidate[]): Content[] {
  const read = all.flatMap(({ candidate, reading }) => ('sha256' in reading ? [{ candidate, ...reading }] : []));
  return [...Map.groupBy(read, ({ sha256 }) => sha256)].map(([sha256, group]) => ({
    sha256,
    copies: group.map(({ candidate }) => candidate),
    backends: new Set(group.map(({ candidate }) => candidate.backend)),
    isProved: group.some(({ outcome }) => outcome === 'proved'),
    isUndoubted: group.some(({ outcome }) => outcome !== 'doubtful'),
  }));
}

/** What the strongest reason that speaks for anything speaks for. */
function firstNonEmpty(contents: readonly Content[], reasons: readonly ((content: Content) => boolean)[]): Content[] {
  for (const reason of reasons) {
    const trusted = contents.filter(reason);
    if (trusted.length > 0) return trusted;
  }
  return [];
}
