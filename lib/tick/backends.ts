import { shared } from '../base/shared.ts';
import type { Backend, Capabilities } from '../fleet/backend.ts';
import type { Ownership } from '../fleet/owner.ts';
import { type AskOwner, createAskOwner, refusing, settleErrors } from '../fleet/settle-errors.ts';
import { throttled } from '../fleet/throttle.ts';
import { ownershipOf } from '../transfer/ownership.ts';
import type { Tick } from './tick.ts';

type Use = 'read-write' | 'delete';

/** What of a tick its backends depend on, looked at anew for each request. */
type Of = Pick<
  Tick,
  'deps' | 'config' | 'view' | 'fleetId' | 'of' | 'signal' | 'meter' | 'probes' | 'standing' | 'problem'
>;

/** The handles of one tick: opened once, paced, counted, and with errors that say what they speak of. */
export interface TickBackends {
  backend(name: string, use: Use): Promise<Backend>;
  /** As the bucket answers now: evidence against copies, and against its health, is never an earlier answer. */
  ownership(name: string): Promise<Ownership>;
}

export function createTickBackends(tick: () => Of): TickBackends {
  const counted = new Map<string, Promise<Backend>>();
  const settled = new Map<string, Promise<Backend>>();
  const owners = new Map<string, () => Promise<Ownership>>();
  const ownerQuestions = new Map<string, AskOwner>();
  // Opening fails where this process lacks credentials: then every request does, and nothing that would not have asked.
  const count = (name: string, use: Use) =>
    remember(counted, `${use} ${name}`, () => open(tick, name, use).catch((error) => refusing(name, error)));
  const askOwnerOf = (name: string): AskOwner => {
    const known = ownerQuestions.get(name);
    if (known !== undefined) return known;
    const { deps, signal } = tick();
    const askOwner = createAskOwner(() => count(name, 'read-write'), { clock: deps.clock, signal });
    ownerQuestions.set(name, askOwner);
    return askOwner;
  };
  const askOwnership = (name: string): (() => Promise<Ownership>) => {
    const known = owners.get(name);
    if (known !== undefined) return known;
    const ask = shared(async () => {
      const { deps, view, fleetId, signal } = tick();
      return ownershipOf(deps.store, view, fleetId, await count(name, 'read-write'), signal);
    });
    owners.set(name, ask);
    return ask;
  };
  const settle = async (name: string, use: Use) =>
    settleErrors(await count(name, use), {
      askOwner: askOwnerOf(name),
      failed: ({ message }) => tick().meter.fail(name, message),
      lacksCredentials: ({ message }) => tick().problem(message),
      hasOwnKeys: use === 'delete',
    });
  return {
    backend: (name, use) => remember(settled, `${use} ${name}`, () => settle(name, use)),
    ownership: (name) => askOwnership(name)(),
  };
}

async function open(tick: () => Of, name: string, use: Use): Promise<Backend> {
  const { deps, view, meter } = tick();
  const config = () => tick().config.backends.find((b) => b.name === name);
  const configured = config();
  if (configured === undefined) throw new Error(`Backend "${name}" is not in the fleet file`);
  const backend = await deps.openBackend(configured, view.capabilities(name) as Capabilities, use);
  const rules = {
    /** By the file as it is now; each of n parts has an nth. */
    rates: () => ({
      bytesPerSecond: (config()?.maxBytesPerSecond ?? 0) / tick().of,
      requestsPerSecond: (config()?.maxRequestsPerSecond ?? 0) / tick().of,
    }),
    // What was begun before others found it unreachable sends nothing more.
    mayAsk: () => tick().standing(name).breaker === 'closed' || tick().probes.has(name),
  };
  // What has come is spent, though it waits for its turn still; what waits to be sent is not.
  return throttled(meter.watch(backend, configured.requestClasses), deps.clock, rules);
}

/** One answer per key for the life of a tick; a failure is not remembered. */
function remember<T>(known: Map<string, Promise<T>>, key: string, make: () => Promise<T>): Promise<T> {
  const existing = known.get(key);
  if (existing !== undefined) return existing;
  const created = make();
  known.set(key, created);
  created.catch(() => known.delete(key));
  return created;
}
