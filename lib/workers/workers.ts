import { type WorkerName, workerExport, workerNames } from '../config/workers.ts';
import type { Worker } from '../tick/tick.ts';

/** A worker's file: `lib/workers/<name>/<name>.ts`. */
async function load(name: WorkerName): Promise<Worker> {
  const file: Readonly<Record<string, Worker>> = await import(`./${name}/${name}.ts`);
  return file[workerExport(name)]!;
}

/** Every worker by name: those of `lib/config/workers.ts`. */
export const workers = Object.fromEntries(
  await Promise.all(workerNames.map(async (name) => [name, await load(name)] as const)),
) as Readonly<Record<WorkerName, Worker>>;
