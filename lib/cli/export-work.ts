import type { ObjectSummary } from '../client/client.ts';
import { type Bulk, runBulk, type Step } from './bulk.ts';
import type { Exported } from './export-manifest.ts';
import { type Selection, select, totalOf } from './select-keys.ts';
import type { Session } from './session.ts';

/** What became of one object. With `problem` it was exported under another name, or left. */
export type ExportStep = Step & { readonly exported?: Exported };

/** A place that objects go to under their plain names. */
export interface ExportTarget {
  /** For people. */
  readonly name: string;
  /** Brings one object there, verified; `before` is what the manifest says of it. */
  bring(object: ObjectSummary, before: Exported | undefined): Promise<ExportStep>;
  /** What the manifest says, from earlier runs. */
  readonly manifest: ReadonlyMap<string, Exported>;
  /** Notes what has been brought; it is on disk, or in the bucket, once this has resolved. */
  note(exported: Exported): Promise<void>;
  /** Ends the manifest: at the end, and when a signal came. */
  close(): Promise<void>;
}

const concurrency = 8;

/** Brings every object of a selection to a target, and writes down what is where. */
export async function runExport(session: Session, selection: Selection, target: ExportTarget): Promise<Bulk> {
  const client = session.client();
  try {
    return await runBulk(session, {
      items: select(client, selection),
      total: totalOf(client, selection),
      concurrency,
      nameOf: ({ key }) => key,
      async step(object) {
        const { exported, ...step } = await target.bring(object, target.manifest.get(object.key));
        if (exported !== undefined) await target.note(exported);
        return step;
      },
    });
  } finally {
    await target.close();
  }
}
