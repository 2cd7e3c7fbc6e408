/** List prices in USD, us-east-1: those of docs/cost.md. */
export const prices = {
  get: 0.4e-6,
  put: 5e-6,
  list: 5e-6,
  readUnit: 0.125e-6,
  writeUnit: 0.625e-6,
};

/** What an import would do, added up from its listings. */
export interface ImportPlan {
  /** Keys that would be looked up and are no objects yet, or gain a copy. */
  keys: number;
  writeUnits: number;
  /** Files that must be read to tell what listings do not, and their bytes by backend. */
  reads: number;
  readonly readBytes: Map<string, number>;
  /** Copies that policies then ask for, and their bytes. */
  copies: number;
  copyBytes: number;
  /** Bytes that would leave each backend for these copies. */
  readonly egressBytes: Map<string, number>;
}

export function newImportPlan(): ImportPlan {
  return { keys: 0, writeUnits: 0, reads: 0, readBytes: new Map(), copies: 0, copyBytes: 0, egressBytes: new Map() };
}

/** What recording one file takes, of which `itemBytes` is the size of its record. */
export function writeUnitsOf(itemBytes: number): number {
  const kib = Math.max(1, Math.ceil(itemBytes / 1024));
  // A transaction writes twice what it puts; one index holds all of the record, the other its key; and a share of the ledger.
  return 2 * kib + kib + 1 + ledgerShare;
}

/** Ledger rows of a full transaction, divided among its files: measured, `npm run bench:imports`. */
const ledgerShare = 0.05;
/** Recording a copy in a large group: measured, `npm run bench:units`. */
export const writeUnitsOfCopy = 4.15;
const gb = 1e9;

/** What an import, and the first replication of what it imported, would take. Amounts of money are USD. */
export interface ImportEstimate {
  readonly import: {
    readonly listRequests: number;
    readonly readUnits: number;
    readonly writeUnits: number;
    readonly readBytes: number;
    readonly usd: number;
  };
  readonly replication: {
    readonly copies: number;
    readonly bytes: number;
    readonly requests: number;
    readonly writeUnits: number;
    /** By the backend that is read. */
    readonly egress: readonly { readonly backend: string; readonly bytes: number; readonly usd: number }[];
    readonly usd: number;
  };
}

/** What backends ask for, in dollars: for one request where it costs most, and for a gigabyte that is read. */
export interface ImportRates {
  readonly list: number;
  readonly get: number;
  readonly put: number;
  egressUsdPerGb(backend: string): number;
}

/** Prices a plan: the metadata by list prices of AWS. Lambda and storage aside. */
export function estimateImport(
  plan: ImportPlan,
  { listed, listRequests }: { readonly listed: number; readonly listRequests: number },
  rates: ImportRates,
): ImportEstimate {
  const { writeUnits, reads, copies, copyBytes } = plan;
  const egressUsd = (backend: string, bytes: number) => (bytes / gb) * rates.egressUsdPerGb(backend);
  const egress = [...plan.egressBytes].map(([backend, bytes]) => ({ backend, bytes, usd: egressUsd(backend, bytes) }));
  const readBytes = [...plan.readBytes.values()].reduce((sum, bytes) => sum + bytes, 0);
  const readUsd = [...plan.readBytes].reduce((sum, [backend, bytes]) => sum + egressUsd(backend, bytes), 0);
  const metadataUsd = listed * prices.readUnit + writeUnits * prices.writeUnit;
  const requestsUsd = listRequests * rates.list + reads * rates.get;
  const copyUsd = rates.get + rates.put + writeUnitsOfCopy * prices.writeUnit;
  return {
    import: { listRequests, readUnits: listed, writeUnits, readBytes, usd: requestsUsd + readUsd + metadataUsd },
    replication: {
      copies,
      bytes: copyBytes,
      requests: 2 * copies,
      writeUnits: copies * writeUnitsOfCopy,
      egress,
      usd: copies * copyUsd + egress.reduce((sum, { usd }) => sum + usd, 0),
    },
  };
}
