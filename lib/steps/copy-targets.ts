import type { BackendConfig } from '../config/fleet-file.ts';
import { spreadOrder } from '../config/placement-rule.ts';
import { routeOrder } from '../fleet/routing.ts';
import { type ExceededLimit, writingRequest } from '../fleet/usage-limits.ts';
import type { BackendStanding } from '../store/fleet-view.ts';
import type { ObjectRecord } from '../store/model.ts';
import type { CopyTurn } from './copy-turn.ts';
import { spendOf } from './make-copy.ts';
import { countedOf, ruleOf, wantsCopyOn } from './missing-copies.ts';
import { readableCopies } from './quarantine.ts';
import { isWaiting, retryViewOf } from './refusals.ts';
import type { Place } from './target-trust.ts';
import { isHeldByTarget } from './transfers/pending.ts';
import { isLeftAlone } from './write-check.ts';

/**
 * Where a copy of an object may go now, in routing order; or why nowhere: `crowded-out` only copies that others are about to
 * make take the room, some of which may fail · `backing-off` those that could refused it, and are not to be asked again yet ·
 * `no-target` none could, as the fleet is · the month's limit that keeps the one that could.
 */
export type TargetChoice =
  | { readonly outcome: 'targets'; readonly targets: readonly BackendConfig[] }
  | { readonly outcome: 'crowded-out' | 'backing-off' | 'no-target' }
  | { readonly outcome: 'over-limit'; readonly reason: ExceededLimit };

/** Backends that may receive a copy of an object. */
export function chooseTargets(turn: CopyTurn, object: ObjectRecord): TargetChoice {
  const { tick } = turn;
  const retryView = retryViewOf(tick);
  const possible = tick.standings().filter((standing) => isTarget(turn, standing, object));
  const willing = possible.filter(({ name }) => !isWaiting(object, name, 'target', retryView));
  const sources = sourcesOf(turn, object);
  const limits = new Map(willing.map(({ name }) => [name, limitFor(turn, object, sources, name)]));
  const affordable = willing.flatMap(({ name, config }) => (limits.get(name) === null ? [config!] : []));
  const roomy = routed(turn, affordable).filter((config) => hasRoom(turn, config, object.sizeBytes));
  const targets = inSpreadOrder(turn, object, roomy);
  if (targets.length > 0) return { outcome: 'targets', targets };
  const reason = [...limits.values()].find((limit) => limit !== null);
  if (reason !== undefined && reason !== null) return { outcome: 'over-limit', reason };
  if (willing.some(({ config }) => hasRoom({ ...turn, planned: new Map() }, config!, object.sizeBytes)))
    return { outcome: 'crowded-out' };
  return { outcome: willing.length < possible.length ? 'backing-off' : 'no-target' };
}

/** Those first that stand where no copy of the object does. */
export function inSpreadOrder(
  turn: CopyTurn,
  object: ObjectRecord,
  targets: readonly BackendConfig[],
  copied: readonly string[] = [],
): BackendConfig[] {
  const { tick } = turn;
  const holders = countedOf(tick, [...Object.keys(object.copies), ...comingTo(turn, object), ...copied]);
  return spreadOrder(ruleOf(tick, object.key), holders, targets);
}

/**
 * Backends that a big copy is under way to, and may be counted on to get it: one whose target failed, or holds it back, may
 * not.
 */
export function comingTo({ tick, pending }: CopyTurn, object: ObjectRecord): string[] {
  const coming = pending
    .of(object.key)
    .filter(
      (item) =>
        item.generation === object.generation &&
        object.copies[item.backend] === undefined &&
        !isHeldByTarget(tick, item) &&
        tick.standing(item.backend).isCounted,
    );
  return coming.map(({ backend }) => backend);
}

/** By the room they have left beside what this batch puts there. */
function routed({ tick, planned }: CopyTurn, configs: readonly BackendConfig[]): BackendConfig[] {
  const candidates = configs.map((config) => ({
    name: config.name,
    config,
    usedBytes: tick.view.usedBytes(config.name) + (planned.get(config.name) ?? 0),
    limitBytes: config.quotaBytes,
  }));
  return routeOrder(candidates, tick.config.routing).map(({ config }) => config);
}

/** The usage limit that keeps a target from taking an object, from the source from which that spends least. */
function limitFor(turn: CopyTurn, object: ObjectRecord, sources: readonly string[], target: string) {
  const spends = sources.map((source) => spendOf(turn, { object, source, target }).writing);
  const least = spends.find(({ ingressBytes }) => ingressBytes === undefined);
  return turn.budget.refuses(target, least ?? { ...writingRequest, ingressBytes: object.sizeBytes });
}

/** Copies that may be read now, in the order in which they are tried. */
export function sourcesOf({ tick, usable }: CopyTurn, object: ObjectRecord): string[] {
  const retryView = retryViewOf(tick);
  return readableCopies(tick, object).filter(
    (name) => usable.has(name) && !isWaiting(object, name, 'source', retryView),
  );
}

/** Whether a backend takes copies now, and none of this object is there or on its way. */
function isTarget(turn: CopyTurn, standing: BackendStanding, object: ObjectRecord): boolean {
  const { name, config } = standing;
  if (config === undefined || !standing.isCounted || !standing.isReachable || object.copies[name] !== undefined)
    return false;
  if (!isOpen(turn, name) || isLeftAlone(turn.tick, name)) return false;
  if (!wantsCopyOn(turn.tick, object, name, comingTo(turn, object))) return false;
  const isComing = turn.pending
    .of(object.key)
    .some(({ backend, generation }) => backend === name && generation === object.generation);
  return !isComing && (config.maxObjectBytes === 0 || config.maxObjectBytes >= object.sizeBytes);
}

/** Whether nothing was met in this tick that keeps a backend from taking anything. */
export function isOpen({ usable, closed, trust }: CopyTurn, name: string): boolean {
  return usable.has(name) && !closed.has(name) && !trust.isOff(name);
}

export function hasRoom(
  { tick, planned }: Pick<CopyTurn, 'tick' | 'planned'>,
  { name, quotaBytes }: BackendConfig,
  sizeBytes: number,
): boolean {
  if (quotaBytes === 0) return true;
  const used = Math.max(tick.view.usedBytes(name), tick.view.quotaBytesUsed(name));
  return used + (planned.get(name) ?? 0) + sizeBytes <= quotaBytes;
}

/** Counts bytes that are planned into a backend; negative when they are not to come. */
export function plan({ planned }: CopyTurn, target: string, bytes: number): void {
  planned.set(target, (planned.get(target) ?? 0) + bytes);
}

/** A target that may be sent an object now. */
export interface PlaceAt {
  readonly target: string;
  readonly place: Place;
}

/**
 * The first of some targets that may be sent an object now; null when none may any more. One that has refused nothing so far
 * is waited for, in routing order; one that refuses keeps nobody from the others.
 */
export async function takePlace(turn: CopyTurn, targets: readonly string[]): Promise<PlaceAt | null> {
  const { tick, trust } = turn;
  for (;;) {
    const open = targets.filter((target) => isOpen(turn, target));
    if (open.length === 0 || tick.outOfTime()) return null;
    for (const target of open) {
      const place = trust.enter(target);
      if (place !== null) return { target, place };
      if (trust.isWorthWaiting(target)) break;
    }
    await trust.changed(open);
  }
}
