/** What one run is measured to be. */
export interface Measured {
  readonly ms: number;
  readonly cpuMs: number;
  readonly maxRssBytes: number;
  readonly copied: number;
  /** Of DynamoDB. */
  readonly writeUnits?: number;
  readonly storeCalls?: Readonly<Record<string, number>>;
}

/** What is measured: it says at least how many objects it dealt with. */
export type Work = () => Promise<Partial<Measured> & Pick<Measured, 'copied'>>;
