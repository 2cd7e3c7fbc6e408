import type { FleetFile } from '../config/fleet-file.ts';
import { type Parameters, scheduleMs, type WorkerName } from '../config/parameters.ts';
import { lacking, missingOf, placementRule } from '../config/placement-rule.ts';
import type { RequestKind } from '../fleet/usage-limits.ts';
import { prices, writeUnitsOfCopy } from '../plans/import-estimate.ts';
import { requestPrice } from '../plans/request-price.ts';
import type { BackendStanding, FleetView } from '../store/fleet-view.ts';
import { type Count, queueStates } from '../store/model.ts';

/**
 * What work would come to at most, by the ledger alone: nothing is asked of a backend. Dollars by the prices of the fleet file,
 * and by list prices of AWS where it names none.
 */
export interface WorkPlan {
  /** Objects, or items of the queue, that are to be worked on. */
  readonly objects: number;
  readonly requests: number;
  /** Bytes that are written to backends. */
  readonly bytes: number;
  readonly egressBytes: number;
  /** Of DynamoDB. */
  readonly writeUnits: number;
  readonly usd: number;
}

export interface WorkView {
  readonly view: FleetView;
  /** That it is to go by. */
  readonly file: FleetFile;
  readonly standing: (backend: string) => BackendStanding;
}

/** What of a tick bounds its work. */
export interface TickExtent {
  readonly params: Parameters;
  readonly of?: number;
  /** 0 = until nothing is left. */
  readonly rounds: number;
}

type Amounts = { -readonly [Field in keyof WorkPlan]: number };
const gigabyte = 1e9;
const dayMs = 24 * 3_600_000;

/** Adds up what is asked of backends. */
function newBill({ backends }: FleetFile) {
  const sum: Amounts = { objects: 0, requests: 0, bytes: 0, egressBytes: 0, writeUnits: 0, usd: 0 };
  const priceOf = (name: string, kind: RequestKind) =>
    requestPrice(
      backends.find((one) => one.name === name),
      kind,
    );
  return {
    sum,
    ask(name: string, kind: RequestKind, requests: number) {
      sum.requests += requests;
      sum.usd += requests * priceOf(name, kind);
    },
    read(name: string, { objects, bytes }: Count) {
      this.ask(name, 'get', objects);
      sum.egressBytes += bytes;
      sum.usd += (bytes / gigabyte) * (backends.find((one) => one.name === name)?.egressUsdPerGb ?? 0);
    },
    write(name: string, { objects, bytes }: Count) {
      this.ask(name, 'put', objects);
      sum.bytes += bytes;
    },
    record(units: number) {
      sum.writeUnits += units;
      sum.usd += units * prices.writeUnit;
    },
    egressPriceOf: (name: string) => backends.find((one) => one.name === name)?.egressUsdPerGb ?? 0,
    writePriceOf: (name: string) => priceOf(name, 'put'),
  };
}

type Bill = ReturnType<typeof newBill>;

/** What one tick of a worker would do at most, as far as the ledger tells. Objects are taken to be of the average size. */
export function planTick(worker: WorkerName, fleet: WorkView, extent: TickExtent): WorkPlan {
  const bill = newBill(fleet.file);
  work[worker]?.(bill, fleet, extent);
  const { params, of = 1, rounds } = extent;
  const most = rounds === 0 ? Number.POSITIVE_INFINITY : rounds * params.workers[worker].batchSize;
  const { objects } = bill.sum;
  return timesPlan(bill.sum, Math.min(1 / of, objects === 0 ? 1 : most / objects));
}

/** By worker: what is not here asks nothing of backends that the ledger tells of. */
const work: Readonly<Partial<Record<WorkerName, (bill: Bill, fleet: WorkView, extent: TickExtent) => void>>> = {
  replicator(bill, fleet) {
    for (const { policy, copies, count, condition } of fleet.view.placements)
      if (condition !== 'damaged') addCopies(bill, fleet, [policy], copies, count);
  },
  'over-replication-cleaner'(bill, fleet) {
    for (const { policy, copies, count, condition } of fleet.view.placements)
      if (condition !== 'damaged') addRemovals(bill, fleet, [policy], copies, count);
  },
  rebalancer(bill, { view, file }) {
    const limited = file.backends.filter(({ quotaBytes }) => quotaBytes > 0).map(({ name }) => name);
    const [dearest] = [...limited].sort((a, b) => bill.writePriceOf(b) - bill.writePriceOf(a));
    for (const { copies, count } of view.placements)
      for (const { backend, isPlain } of copies) {
        if (isPlain || !limited.includes(backend)) continue;
        addCopy(bill, count, backend, dearest!);
      }
  },
  'cleanup-queue'(bill, { view }) {
    for (const backend of view.namedBackends()) {
      const { objects } = view.queue('cleanup', backend);
      bill.sum.objects += objects;
      bill.ask(backend, 'delete', objects);
      bill.record(objects * writeUnitsOfItem);
    }
  },
  'pending-reaper'(bill, { view }) {
    for (const backend of view.namedBackends()) {
      const intents = view.queue('intent', backend);
      bill.sum.objects += intents.objects;
      bill.ask(backend, 'head', intents.objects);
      bill.read(backend, intents);
      bill.record(intents.objects * writeUnitsOfCopy);
    }
  },
  scrubber(bill, { view }, { params }) {
    const { batchSize, schedule } = params.workers.scrubber;
    const share = (scheduleMs(schedule) ?? 3_600_000) / (params.scrubberCycleDays * dayMs);
    const objects = view.placements.reduce((sum, { count }) => sum + count.objects, 0);
    const looked = Math.min(1, Math.max(share, objects === 0 ? 1 : (10 * batchSize) / objects));
    for (const { copies, count } of view.placements)
      for (const { backend } of copies) bill.read(backend, timesCount(count, looked));
    bill.sum.objects += objects * looked;
  },
  reconciler(bill, { view, file }) {
    for (const { name } of file.backends) {
      const recorded = view.placements.filter(({ copies }) => copies.some(({ backend }) => backend === name));
      const waiting = queueStates.reduce((sum, state) => sum + view.queue(state, name).objects, 0);
      const keys = recorded.reduce((sum, { count }) => sum + count.objects, waiting);
      bill.sum.objects += keys;
      bill.ask(name, 'list', Math.ceil(keys / 1000) + 1);
      bill.sum.usd += keys * prices.readUnit;
    }
  },
};

/** An item that ends, and its part of the ledger. */
const writeUnitsOfItem = 4;

/** What the workers would do once a file is in force, what they have to do already included. */
export function planFile(fleet: WorkView): WorkPlan {
  const bill = newBill(fleet.file);
  const before = fleet.view.config?.file ?? fleet.file;
  for (const { policy, copies, count, condition } of fleet.view.placements) {
    if (condition === 'damaged') continue;
    const policies = policiesOf(before, fleet.file, policy);
    addCopies(bill, fleet, policies, copies, count);
    addRemovals(bill, fleet, policies, copies, count);
  }
  return bill.sum;
}

/**
 * Policies that objects of one may have by another file. The ledger counts by policy, not by key: where the prefixes change,
 * whatever fits.
 */
function policiesOf(before: FleetFile, after: FleetFile, policy: string): string[] {
  const prefixOf = (file: FleetFile, name: string) => file.policies[name]?.prefix ?? '';
  const names = Object.keys(after.policies);
  const isNew = (name: string) => !(name in before.policies) || prefixOf(before, name) !== prefixOf(after, name);
  const left = Object.keys(before.policies).filter((name) => !(name in after.policies) || isNew(name));
  const own = prefixOf(before, policy);
  const meets = (prefix: string) => prefix.startsWith(own) || own.startsWith(prefix);
  const stays = policy in after.policies && !isNew(policy);
  const others = names.filter((name) => (isNew(name) || (!stays && left.length > 0)) && meets(prefixOf(after, name)));
  return [...new Set([...(stays ? [policy] : []), ...others])];
}

type Copies = FleetView['placements'][number]['copies'];

/** Copies that objects lack, by whichever of some policies asks for most. */
function addCopies(bill: Bill, fleet: WorkView, policies: readonly string[], copies: Copies, count: Count): void {
  const takers = countedIn(fleet);
  const holders = copies.map(({ backend }) => backend).filter((name) => takers.includes(name));
  const lack = Math.max(
    0,
    ...policies.map((policy) => {
      const wanted = missingOf(lacking(placementRule(fleet.file, policy), holders, takers));
      return Math.min(wanted, takers.length - holders.length);
    }),
  );
  if (lack === 0) return;
  const { standing } = fleet;
  const sources = copies.map(({ backend }) => backend).filter((name) => standing(name).isReachable);
  const [source] = [...(sources.length > 0 ? sources : holders)].sort(
    (a, b) => bill.egressPriceOf(a) - bill.egressPriceOf(b),
  );
  const [target] = takers
    .filter((name) => !holders.includes(name))
    .sort((a, b) => bill.writePriceOf(b) - bill.writePriceOf(a));
  if (source === undefined || target === undefined) return;
  for (let copy = 0; copy < lack; copy += 1) addCopy(bill, count, source, target);
  // Of an object with several copies to make, each was counted as one.
  bill.sum.objects -= (lack - 1) * count.objects;
}

function addCopy(bill: Bill, count: Count, source: string, target: string): void {
  bill.sum.objects += count.objects;
  bill.read(source, count);
  bill.write(target, count);
  bill.record(count.objects * writeUnitsOfCopy);
}

/** Copies that objects can spare: each is removed only once all that are there were read. */
function addRemovals(bill: Bill, fleet: WorkView, policies: readonly string[], copies: Copies, count: Count): void {
  const takers = countedIn(fleet);
  const holders = copies.map(({ backend }) => backend).filter((name) => takers.includes(name));
  const spare = Math.max(
    0,
    ...policies.map(
      (policy) => copies.length - holders.length - lacking(placementRule(fleet.file, policy), holders, takers).copies,
    ),
  );
  if (spare === 0) return;
  bill.sum.objects += count.objects;
  for (const { backend } of copies) {
    bill.ask(backend, 'head', count.objects);
    bill.read(backend, count);
  }
  bill.record(spare * count.objects * writeUnitsOfCopy);
}

/** A backend that only the new file names has not been judged yet. */
function countedIn({ view, file, standing }: WorkView): string[] {
  const known = new Set(view.config?.file.backends.map(({ name }) => name));
  return file.backends.map(({ name }) => name).filter((name) => !known.has(name) || standing(name).isCounted);
}

function timesCount({ objects, bytes }: Count, factor: number): Count {
  return { objects: objects * factor, bytes: bytes * factor };
}

function timesPlan(plan: WorkPlan, factor: number): WorkPlan {
  const whole = (amount: number) => Math.ceil(amount * Math.min(1, factor));
  return {
    objects: whole(plan.objects),
    requests: whole(plan.requests),
    bytes: whole(plan.bytes),
    egressBytes: whole(plan.egressBytes),
    writeUnits: whole(plan.writeUnits),
    usd: plan.usd * Math.min(1, factor),
  };
}
