import type { BackendConfig } from '../config/fleet-file.ts';
import { prices } from './import-estimate.ts';

/** Dollars for one request of a kind: by the backend's entry, and by the list prices of AWS where that names none. */
export function requestPrice(backend: BackendConfig | undefined, kind: keyof BackendConfig['requestClasses']): number {
  const billed = backend?.requestClasses[kind] ?? 'A';
  if (billed === 'free') return 0;
  if (billed === 'A') return backend?.usdPerMillionA ? backend.usdPerMillionA / 1e6 : prices.put;
  return backend?.usdPerMillionB ? backend.usdPerMillionB / 1e6 : prices.get;
}

/** The same at whichever of some backends it costs most. */
export function dearestRequest(
  backends: readonly BackendConfig[],
  kind: keyof BackendConfig['requestClasses'],
): number {
  return Math.max(0, ...backends.map((backend) => requestPrice(backend, kind)));
}
