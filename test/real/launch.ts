/** How a server is started on this machine. */
export interface Launch {
  readonly program: string;
  readonly args: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
}

/** Where one run of a server keeps what it stores, and where it answers. */
export interface Place {
  /** What the recipe made. */
  readonly home: string;
  readonly dir: string;
  /** Of S3; the next seven are its own too. */
  readonly port: number;
}
