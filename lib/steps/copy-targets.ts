import type { BackendConfig } from '../config/fleet-file.ts';
import { routeOrder } from '../fleet/routing.ts';
import type { BackendStanding } from '../store/fleet-view.ts';
import type { ObjectRecord, QueueItem } from '../store/model.ts';
import { type CopyTurn, spendOf } from './make-copy.ts';
import { readableCopies } from './quarantine.ts';
import type { TransferTurn } from './transfers/carry-on.ts';

/** What the choice of a target depends on, beside the fleet's state. */
export interface TargetsTurn extends CopyTurn, Pick<TransferTurn, 'usable' | 'failedTargets' | 'pending'> {
  /** Bytes that this batch puts into each backend: also those that a ledger read since may hold, which errs on the safe side. */
  readonly planned: Map<string, number>;
}

/** R2: backends that may receive a copy, in routing order; and why the others that could may not now. */
export function targetsFor(
  turn: TargetsTurn,
  object: ObjectRecord,
): { targets: BackendConfig[]; deferral: string | null } {
  const { tick } = turn;
  let deferral: string | null = null;
  const sources = sourcesOf(turn, object);
  const able = tick
    .standings()
    .filter((standing) => isTarget(turn, standing, object))
    .map(({ config }) => config!)
    .filter(({ name }) => {
      const refusal = refusalOf(turn, object, sources, name);
      deferral ??= refusal;
      return refusal === null;
    });
  const ordered = routeOrder(
    able.map((config) => ({
      name: config.name,
      config,
      usedBytes: tick.view.usedBytes(config.name) + (turn.planned.get(config.name) ?? 0),
      limitBytes: config.quotaBytes,
    })),
    tick.config.routing,
  );
  const targets = ordered.map(({ config }) => config).filter((config) => hasRoom(turn, config, object.sizeBytes));
  return { targets, deferral };
}

/** The usage limit that keeps a target from taking an object, from the source from which that spends least. */
function refusalOf(turn: TargetsTurn, object: ObjectRecord, sources: readonly string[], target: string) {
  const spends = sources.map((source) => spendOf(turn, { object, source, target }).writing);
  const least = spends.find(({ ingressBytes }) => ingressBytes === undefined);
  return turn.budget.refuses(target, least ?? { requests: 1, ingressBytes: object.sizeBytes });
}

/** R3: copies that may be read now. */
export function sourcesOf({ tick, usable }: TargetsTurn, object: ObjectRecord): string[] {
  return readableCopies(tick, object).filter((name) => usable.has(name));
}

function isTarget(
  turn: TargetsTurn,
  { name, config, isCounted, isReachable }: BackendStanding,
  object: ObjectRecord,
): boolean {
  if (config === undefined || !isCounted || !isReachable || !turn.usable.has(name)) return false;
  if (turn.failedTargets.has(name) || object.copies[name] !== undefined) return false;
  const isComing = ({ backend, generation }: QueueItem) => backend === name && generation === object.generation;
  if (turn.pending.get(object.key)?.some(isComing)) return false;
  return config.maxObjectBytes === 0 || config.maxObjectBytes >= object.sizeBytes;
}

export function hasRoom(turn: TargetsTurn, { name, quotaBytes }: BackendConfig, sizeBytes: number): boolean {
  if (quotaBytes === 0) return true;
  const used = Math.max(turn.tick.view.usedBytes(name), turn.tick.view.quotaBytesUsed(name));
  return used + (turn.planned.get(name) ?? 0) + sizeBytes <= quotaBytes;
}

/** Whether only copies that others are about to make take the room for one of this object: some of them may fail. */
export function isCrowdedOut(turn: TargetsTurn, object: ObjectRecord): boolean {
  return turn.tick
    .standings()
    .filter((standing) => isTarget(turn, standing, object))
    .some(({ config }) => hasRoom({ ...turn, planned: new Map() }, config!, object.sizeBytes));
}

/** Counts bytes that are planned into a backend; negative when they are not to come. */
export function plan(turn: TargetsTurn, target: string, bytes: number): void {
  turn.planned.set(target, (turn.planned.get(target) ?? 0) + bytes);
}
