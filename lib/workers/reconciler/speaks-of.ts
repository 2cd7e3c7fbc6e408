import type { BackendError, BackendErrorKind } from '../../fleet/backend.ts';

const aboutOneKey: ReadonlySet<BackendErrorKind> = new Set([
  'not-found',
  'delete-marker',
  'denied',
  'precondition',
  'truncated',
  'rejected',
  'unsupported',
  'too-large',
  'unavailable',
]);

/** What an error that was met over one key, or one page, speaks of. */
export function speaksOf({ kind }: BackendError): 'object' | 'backend' | 'neither' {
  if (aboutOneKey.has(kind)) return 'object';
  return kind === 'timeout' || kind === 'credentials' || kind === 'no-bucket' ? 'backend' : 'neither';
}
