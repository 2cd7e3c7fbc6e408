import { bodyOf, collect } from '../../lib/base/bytes.ts';
import {
  type Backend,
  BackendError,
  type BackendErrorKind,
  type Capabilities,
  type CopySource,
  type ObjectHeaders,
  type PutRequest,
} from '../../lib/fleet/backend.ts';

/** Another backend at the same endpoint, and where its bytes are there. */
export interface Neighbour {
  readonly backend: Backend;
  readonly place: Pick<CopySource, 'bucket' | 'prefix'>;
}

/** What a test may meet instead of what it asks: a capability that is lacking, a key that is refused, an answer that is lost. */
export type Difference = keyof Capabilities | 'refusesKey' | 'hangsUp' | 'missingIsChanged' | 'takesSmallParts';

/** What the suite needs: a backend whose bucket (prefix) is empty. */
export interface BackendKit {
  readonly backend: Backend;
  /** What it was found to be unable to do; absent: it can do everything but keep versions. */
  readonly can?: Capabilities;
  /** Told of each difference that a test met, and then holds the backend to something else. */
  differs?(difference: Difference, about?: string): void;
  readonly neighbour: Neighbour;
  /** Empties the bucket. */
  reset(): Promise<void>;
  close(): Promise<void>;
}

/** The backend under test, which exists only while tests run, and the two calls they all make. */
export interface Access {
  readonly backend: Backend;
  readonly neighbour: Neighbour;
  put(storageKey: string, bytes: Uint8Array | string, more?: Partial<PutRequest>): Promise<{ etag: string }>;
  readonly can: Capabilities | undefined;
  differs(difference: Difference, about?: string): void;
  /** Whether it is known to be unable to do this: then the test says what is so instead. */
  lacks(capability: keyof Capabilities): boolean;
  /** Puts each key, as its own content, and returns those that were taken. What is refused is so for certain. */
  putTaken(keys: readonly string[]): Promise<string[]>;
  read(storageKey: string): Promise<Buffer>;
}

export function accessTo(kit: () => BackendKit): Access {
  const access: Access = {
    get backend() {
      return kit().backend;
    },
    get neighbour() {
      return kit().neighbour;
    },
    put(storageKey, bytes, more = {}) {
      const body = Buffer.from(bytes);
      return kit().backend.put({ storageKey, sizeBytes: body.length, body: bodyOf(body), ...more });
    },
    get can() {
      return kit().can;
    },
    differs: (difference, about) => kit().differs?.(difference, about),
    lacks(capability) {
      const value = access.can?.[capability];
      if (value !== false && value !== 0) return false;
      access.differs(capability);
      return true;
    },
    async putTaken(keys) {
      const taken: string[] = [];
      for (const key of keys) {
        // It may be taken, and hide what is below it.
        if (keys.some((other) => other.startsWith(`${key}/`)) && access.lacks('takesNestedKeys')) continue;
        try {
          await access.put(key, key);
          taken.push(key);
        } catch (error) {
          const isRefusal = error instanceof BackendError && error.storesNothing && isAboutKey.has(error.kind);
          if (access.can === undefined || !isRefusal) throw error;
          access.differs('refusesKey', key);
        }
      }
      return taken;
    },
    async read(storageKey) {
      return collect((await kit().backend.get(storageKey)).body);
    },
  };
  return access;
}

const isAboutKey: ReadonlySet<BackendErrorKind> = new Set(['unacceptable', 'rejected']);

/** Every header that travels along. */
export const allHeaders: ObjectHeaders = {
  contentType: 'text/plain; charset=utf-8',
  cacheControl: 'max-age=60, private',
  contentDisposition: 'attachment; filename="a b.txt"',
  contentEncoding: 'gzip',
  contentLanguage: 'de-CH',
};

/** Keys that something between us and the disk could trip over. */
export const oddKeys: readonly string[] = [
  'a-b',
  'aB',
  'a/b',
  'a',
  'caf\u00e9', // NFC
  'cafe\u0301', // NFD
  '\ud83d\ude80 rocket',
  '\uff5e full width, after the surrogates of UTF-16 but before emoji in UTF-8',
  'with spaces  two',
  'trailing space ',
  ' leading space',
  'a!01ARZ3NDEKTSV4RRFFQ69G5FAV',
  '__multipart/u/1',
  'plus+plus',
  '100%25',
  '%2e%2e/%00',
  '..',
  '../up',
  'a/../b',
  './here',
  'a//b',
  '/absolute',
  'ends/',
  '?query=1&x#fragment',
  '<xml>&amp;"\'',
  "~tilde*()!'",
  'back\\slash',
  'colon:semi;comma,at@equals=dollar$',
  'tab\there',
  'line\nbreak',
  'bell\u0007',
  'delete\u007f',
  'next\u0085line\u2028separator',
  'k'.repeat(900),
  '\u00e9'.repeat(450),
];
