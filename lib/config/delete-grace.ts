import { type FleetFile, policyOf } from './fleet-file.ts';

const hourMs = 3_600_000;

/** How long what is deleted or overwritten under a key can be brought back at least, by its policy. */
export function deleteGraceMs(file: Pick<FleetFile, 'policies'>, key: string): number {
  return (policyOf(file, key).deleteGraceHours ?? 0) * hourMs;
}

/** When the bytes of a content that is deleted or overwritten now may be deleted: never before readers have let go of them. */
export function deletionDueAt(
  file: Pick<FleetFile, 'policies'>,
  key: string,
  { now, graceMs }: { readonly now: number; readonly graceMs: number },
): number {
  return now + Math.max(graceMs, deleteGraceMs(file, key));
}
